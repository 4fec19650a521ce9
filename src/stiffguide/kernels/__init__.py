"""Generated kernels: the whole adaptive solve of a small system as one native function."""
