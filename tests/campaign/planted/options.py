"""`max_step` is taken, and forgotten."""

from stiffguide import arguments

length = arguments.length
arguments.length = lambda value, name: None if name == "max_step" else length(value, name)
