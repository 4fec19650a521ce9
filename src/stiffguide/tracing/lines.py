"""Lines of the user's code, for messages."""

from __future__ import annotations

import traceback
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
SCIPY = find_spec("scipy")  # which takes long to load
LIBRARIES = tuple(
    str(Path(str(file)).parent)
    for file in (torch.__file__, np.__file__, SCIPY.origin if SCIPY else None)
    if file
)
FOREIGN = (*LIBRARIES, str(HERE), str(HERE.parent / "graphs"), "<frozen ")
STANDARD = str(Path(traceback.__file__).parent)


def _foreign(file: str) -> bool:
    """Whether a file is not the user's: of torch, numpy, scipy, Python, or one of these."""
    return file.startswith(FOREIGN) or (
        file.startswith(STANDARD) and not {"site-packages", "dist-packages"} & {*Path(file).parts}
    )


def place(error: BaseException) -> str:
    """Where in the user's code: the innermost frame that is not torch's or ours."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if not _foreign(frame.filename):
            return f" (line {frame.lineno} of {Path(frame.filename).name})"
    return ""
