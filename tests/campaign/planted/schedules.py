"""The time of a level of a linear schedule is off by a hundredth."""

from stiffguide.adapters.diffusion import VPLinear

time = VPLinear.time
VPLinear.time = lambda self, level: 1.01 * time(self, level)  # type: ignore[method-assign]
