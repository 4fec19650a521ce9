"""Gradients through a solve: `direct` records the accepted steps for autograd.

May import all of `stepping`; not `kernels/`.
"""
