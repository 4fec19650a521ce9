"""What a solve returns: the states, how the rows ended, and what they took.

Read `solution` (the record), then `stats`; `result` is what a backend finds, before it has the
nesting of y0. What can be made of a solution is loaded when it is asked for: `portrait` (HTML for
notebooks) and `picture` (matplotlib), which draw `curves`; `arrays` (numpy); `archive` (a file), in
which `nesting` says how a state is made of tensors. It knows the records of `stepping` and
`fields`, and no solver.
"""

from __future__ import annotations

from stiffguide.solution.result import Result, presented
from stiffguide.solution.solution import Occurrences, Solution
from stiffguide.solution.stats import Stats

__all__ = ["Occurrences", "Result", "Solution", "Stats", "presented"]
