"""The samplers of stiffguide as nodes of ComfyUI: this folder belongs into `custom_nodes`.

`NODE_CLASS_MAPPINGS` is what ComfyUI looks for. Importing the folder also adds the samplers and the
grid to the menus of the KSampler nodes.
"""

try:
    import comfy.samplers  # noqa: F401
except ImportError as error:
    raise ImportError(
        "stiffguide's nodes run inside ComfyUI only: put this folder into ComfyUI/custom_nodes and "
        "start ComfyUI"
    ) from error
try:
    import stiffguide.adapters.kdiffusion  # noqa: F401
except ImportError as error:
    if (error.name or "").partition(".")[0] != "stiffguide":
        raise
    raise ImportError(
        "the Python that runs ComfyUI has no stiffguide, or one without adapters.kdiffusion: run "
        "`python -m pip install PATH` with that Python and the PATH of stiffguide's checkout"
    ) from error

from .menu import register
from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from .noisy import NOISY_CLASSES, NOISY_NAMES

NODE_CLASS_MAPPINGS = {**NODE_CLASS_MAPPINGS, **NOISY_CLASSES}
NODE_DISPLAY_NAME_MAPPINGS = {**NODE_DISPLAY_NAME_MAPPINGS, **NOISY_NAMES}
register()

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
