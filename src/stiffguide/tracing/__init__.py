"""From a field to a scalar graph, by watching it run.

Read `tracer` and `reading`, `observation` and `interpreter` (one look at f); what comes out is a
`traced_field`. `decisions` and `course` follow branches on numbers. How operations become scalars:
`op_kinds`, `op_schema`, and by name `op_rules` and its neighbours. Functions of numpy arrays run on
symbols: `numpy_fields`, `arrays/`. `fingerprint`, `glance` and `agreement` tell whether a trace is
still f; `copies` of f read other things (`lifting`).

Of large systems the `pattern` of df/dy alone is found, by numbers of index sets (`sets`) `beside`
tensors, or by `probing`; `stencils/` has all their entries as a few programs. May import graphs and
fields; never a kernel.
"""
