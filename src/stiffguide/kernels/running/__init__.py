"""Built kernels at work: `task` in, `run`, rows out.

Read `run`; `build` finds or makes a library, by the `compiler`, the `store` of those there are and
its `upkeep`, `trust` in them, and `loading`; `packing` packs the arguments, `device` is for GPUs,
and `loops` and `march` for fields of many unknowns.
May import `kernels.emitting`, not `kernels.backend`.
"""
