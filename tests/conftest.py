"""What every test runs under: one thread, the same examples each time, no deadline."""

from __future__ import annotations

import hypothesis
import torch

# small problems: threads would fight over the cores with the other workers
torch.set_num_threads(1)

hypothesis.settings.register_profile(
    "laws", derandomize=True, deadline=None, max_examples=25, database=None
)
hypothesis.settings.load_profile("laws")
