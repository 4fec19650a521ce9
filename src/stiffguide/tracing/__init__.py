"""From a torch field to a scalar graph, by watching it run.

Read `trace`, then `observe` and `interpret` (one look at f); `traced` is the record that comes out.
Rules: `pointwise`, `movement`, `reductions`, `matrices`, `windows`, `lookup`, `parts`, `kinds`, by
name in `rules`. `fingerprint` and `agreement` tell whether a trace still is f.
May import graphs and fields; never a method, a step or a kernel.
"""
