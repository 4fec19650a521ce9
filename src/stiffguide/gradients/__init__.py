"""Gradients through a solve: `direct` records the accepted steps for autograd.

`times` are those that require a gradient, `replay` repeats events and jumps. `unreached` takes the
gradient from rows that failed. May import all of `stepping`, and `tracing.fingerprint` to see what
f may depend on; not `kernels/`.
"""
