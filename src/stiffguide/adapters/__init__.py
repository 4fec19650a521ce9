"""Adapters: other worlds' problems as this package's; so far, diffusion and flow models.

Read `diffusion` (samplers of its own, on any denoiser), then one of the two that hand them on:
`diffusers` (schedulers for its pipelines) or `kdiffusion` (functions of its calling convention).
Those two may import `diffusion`, not each other, and it neither of them. All of the package below
is theirs to use, but not `fronts`; nothing but `cli` may import from here.
"""
