"""The floors of the house, and who imports whom: what the laws and the picture of them share.

Imports nothing but the standard library, so that the picture can be drawn without an environment.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src" / "stiffguide"
PUBLIC = "__init__"  # the public names: all floors below, none above

# Ground floor first; the names on one line are neighbours. A name is a wing, or a file of one that
# stands on a floor of its own.
FLOORS = (
    ("errors", "exports", "foreign", "forward_mode", "inputs", "safekeeping", "tensors"),
    (
        *("documents", "markup", "ranks", "saying", "signatures"),
        *("tables", "tableaux/exact", "tableaux/trees"),
    ),
    ("chunks", "packing", "tableaux/tableau"),
    ("tableaux/rosenbrock",),
    ("tableaux/order",),
    ("algebra", "stepping/tolerance", "tableaux"),
    ("catalogue",),
    ("estimators", "stepping/contracts", "stepping/course", "stepping/interpolate"),
    ("stepping/constraints",),
    ("stepping/guards", "stepping/initial_dt", "stepping/places", "stepping/trajectory"),
    ("fields", "problems"),
    ("graphs",),
    ("tracing",),
    ("guidance", "methods", "stepping/controllers", "stepping/output"),
    ("sharing", "solution", "stepping"),
    ("stepping/strides",),
    ("stepping/plain",),
    ("caveats", "settings"),
    ("checkpoints",),
    ("arguments", "choices", "diagnosis", "events", "linear_systems", "progress", "sensitivities"),
    ("gradients/modes", "gradients/unreached"),
    ("kernels/emitting",),
    ("kernels/running",),
    ("gradients", "kernels"),
    ("constrained", "large", "options", "scrutiny", "sharing/solve"),
    ("eager",),
    ("recorded",),
    ("backends",),
    ("solve",),
    ("explanation", "fitting", "prepared", "resume", "studies", "verification"),
    (PUBLIC,),
    ("adapters", "fronts"),
    ("cli", "testing"),
    ("__main__",),
)
HEIGHT = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def sources() -> dict[str, str]:
    """Every file of the package by its path inside."""
    return {str(p.relative_to(ROOT)): p.read_text() for p in sorted(ROOT.rglob("*.py"))}


def place(path: str) -> str:
    """The name on a floor that a file or module belongs to: the longest that fits."""
    parts = path.removesuffix(".py").split("/")
    names = ["/".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((name for name in names if name in HEIGHT), parts[0])


@cache
def imports(text: str) -> tuple[tuple[str, str], ...]:
    """(path inside the package, imported name or "") for every import, nested ones too."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found += [(str(node.module), alias.name) for alias in node.names]
    ours = [pair for pair in found if pair[0].split(".")[0] == "stiffguide"]
    return tuple(inside(module, name) for module, name in ours)


def inside(module: str, name: str) -> tuple[str, str]:
    """The path of what is imported: `from wing import file` is the file."""
    path = "/".join(module.split(".")[1:])
    below = f"{path}/{name}".strip("/")
    if (ROOT / f"{below}.py").exists() or (ROOT / below / "__init__.py").exists():
        return below, name
    return path or PUBLIC, name
