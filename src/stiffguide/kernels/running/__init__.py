"""Built kernels at work: `task` in, `run`, rows out.

Read `run`; `build` compiles and caches, `packing` packs the arguments, `device` is for GPUs. May
import `kernels.emitting`, not `kernels.backend`.
"""
