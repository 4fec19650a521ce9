"""Lines of the user's code, for messages."""

from __future__ import annotations

import traceback
from pathlib import Path

import numpy as np
import scipy
import torch

HERE = Path(__file__).parent
LIBRARIES = tuple(str(Path(str(library.__file__)).parent) for library in (torch, np, scipy))
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
