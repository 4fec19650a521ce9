"""From a field of many unknowns to programs that they share, by watching it run once.

Read `stencil` (what comes out, and how), `watch` (one run of f), `entries` (which program an entry
has, and what it reads), `operands` and `sums` (how operations become programs).
"""
