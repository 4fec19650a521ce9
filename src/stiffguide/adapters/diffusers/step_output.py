"""What `step` gives back."""

from __future__ import annotations

from dataclasses import dataclass

from diffusers.utils.outputs import BaseOutput
from torch import Tensor


@dataclass
class StepOutput(BaseOutput):
    """The next sample (B, ...), and x0 (B, ...) as the model sees it now."""

    prev_sample: Tensor
    pred_original_sample: Tensor | None = None
