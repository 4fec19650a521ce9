"""From a field to a scalar graph, by watching it run.

Read `tracer`, then `observation` and `interpreter` (one look at f); what comes out is a
`traced_field`. How operations become scalars: `op_kinds`, `op_schema`, and by name `op_rules` and
its neighbours `pointwise`, `movement`, `reductions`, `matrices`, `windows`, `lookup`, `parts`.
Functions of numpy arrays are run on symbols instead: `numpy_fields`, `decisions`, `arrays/`.
`fingerprint` and `agreement` tell whether a trace still is f; `copies` of f read other things in
its place. May import graphs and fields; never a method, a step or a kernel.
"""
