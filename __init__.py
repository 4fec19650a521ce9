"""What ComfyUI imports of a checkout in its `custom_nodes`: the node pack in `comfyui`.

Nothing else imports this file; the Python package is `src/stiffguide`. Where it is not installed,
ComfyUI takes it from the checkout: it needs torch, numpy and scipy only, which ComfyUI has.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

if "comfy.samplers" in sys.modules:  # else a tool has come across this folder
    if find_spec("stiffguide") is None:
        sys.path.append(str(Path(__file__).parent / "src"))

    from .comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

    __all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
