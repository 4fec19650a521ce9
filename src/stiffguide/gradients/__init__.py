"""Gradients through a solve: `direct` records the accepted steps for autograd.

`recorder` does so whole or, by `checkpoint`, in segments; `times` are those that require one,
`replay` repeats events and jumps, `transforms` are those of torch.func. `unreached` takes the
gradient from rows that failed. May import all of `stepping`, and `tracing.fingerprint` to see what
f may depend on; not `kernels/`.
"""
