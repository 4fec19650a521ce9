"""Every sentence that an exception, a warning or a failed row can bring, read from the source.

A sentence is a template: what is filled in stands as {}. Collected are the arguments of the
exceptions that users meet, of `warnings.warn`, what `diagnosis` and `caveats` say, the statuses.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src" / "stiffguide"
KINDS = {
    *("InputError", "UnsupportedError", "TableauError", "SolveFailed"),
    *("UntraceableError", "NeedsValueError", "CrowdedError", "BuildError"),  # of kernels
}
ENDINGS = ("diagnosis.py", "caveats.py")  # whose strings are sentences about rows
MARK = "{}"


@dataclass(frozen=True)
class Sentence:
    """One template, and where it stands."""

    text: str
    kind: str
    place: str


@dataclass
class Module:
    """A file, its constants, and what it imports from others of ours."""

    path: Path
    tree: ast.Module
    constants: dict[str, ast.expr] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)  # name: dotted module


@cache
def modules() -> dict[str, Module]:
    """All modules of the package by their dotted names."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(("stiffguide", *path.relative_to(ROOT).with_suffix("").parts))
        found[name.removesuffix(".__init__")] = read(path)
    return found


def read(path: Path) -> Module:
    module = Module(path, ast.parse(path.read_text(encoding="utf-8")))
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            module.constants[node.targets[0].id] = node.value
        if isinstance(node, ast.ImportFrom) and node.module:
            module.imported |= {x.asname or x.name: node.module for x in node.names}
    return module


def templates(
    x: ast.expr, module: Module, function: ast.AST | None, known: frozenset[str] = frozenset()
) -> list[str]:
    """What an expression can read; a part that is not known is {}."""
    if isinstance(x, ast.Constant):
        return [x.value] if isinstance(x.value, str) else [MARK]
    if isinstance(x, ast.JoinedStr):
        return ["".join(v.value if isinstance(v, ast.Constant) else MARK for v in x.values)]
    if isinstance(x, ast.IfExp):
        return [t for y in (x.body, x.orelse) for t in templates(y, module, function, known)]
    if isinstance(x, ast.BoolOp):
        return [t for y in x.values for t in templates(y, module, function, known)]
    if isinstance(x, ast.BinOp):
        left = templates(x.left, module, function, known)
        return [a + b for a in left for b in templates(x.right, module, function, known)]
    if isinstance(x, ast.Call):
        if isinstance(x.func, ast.Attribute) and x.func.attr == "format":
            return templates(x.func.value, module, function, known)
        return called(x, module, known)
    if isinstance(x, ast.Name):
        return named(x.id, module, function, known)
    return [MARK]


def named(name: str, module: Module, function: ast.AST | None, known: frozenset[str]) -> list[str]:
    """What a name can read: of the function around it, the module, or where it is imported from."""
    if name in known:
        return [MARK]
    known |= {name}
    values = [
        node.value
        for node in (ast.walk(function) if function else ())
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id == name
    ]
    if values:
        return [t for value in values for t in templates(value, module, function, known)]
    if name in module.constants:
        return templates(module.constants[name], module, None, known)
    home = modules().get(module.imported.get(name, ""))
    return named(name, home, None, known - {name}) if home and home is not module else [MARK]


def called(x: ast.Call, module: Module, known: frozenset[str]) -> list[str]:
    """What a function of this module returns, if it returns strings."""
    if not isinstance(x.func, ast.Name) or x.func.id in known:
        return [MARK]
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == x.func.id:
            known |= {x.func.id}
            return [t for value in returned(node) for t in templates(value, module, node, known)]
    return [MARK]


def returned(function: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            yield node.value


def functions(tree: ast.AST) -> Iterator[tuple[ast.AST | None, ast.AST]]:
    """Every node with the innermost function around it."""
    stack: list[tuple[ast.AST | None, ast.AST]] = [(None, tree)]
    while stack:
        around, node = stack.pop()
        yield around, node
        inner = node if isinstance(node, (ast.FunctionDef, ast.Lambda)) else around
        stack += [(inner, child) for child in ast.iter_child_nodes(node)]


def kind(call: ast.Call) -> str:
    """The exception that a call makes, "warning", or nothing."""
    f = call.func
    name = f.id if isinstance(f, ast.Name) else f.attr if isinstance(f, ast.Attribute) else ""
    if name in KINDS:
        return name
    return "warning" if name == "warn" else ""


def sentences() -> list[Sentence]:
    """All of them."""
    return [s for module in modules().values() for s in of_module(module)]


def of_module(module: Module) -> Iterator[Sentence]:
    where, parts = module.path.name, set()
    for around, node in functions(module.tree):
        if isinstance(node, ast.Call) and node.args and (what := kind(node)):
            for text in templates(node.args[0], module, around):
                yield Sentence(text, what, f"{where}:{node.lineno}")
        if isinstance(node, ast.JoinedStr):
            parts |= {id(x) for x in node.values}
        if where in ENDINGS and isinstance(node, (ast.Constant, ast.JoinedStr)):
            text = templates(node, module, around)[0]
            doc = text.endswith(".") or "\n" in text
            if id(node) not in parts and text.count(" ") > 2 and not doc:
                yield Sentence(text, "ending", f"{where}:{node.lineno}")
    if where == "errors.py":
        for value in ast.walk(module.constants["_SENTENCES"]):
            if isinstance(value, ast.Constant):
                yield Sentence(str(value.value), "ending", f"{where}:{value.lineno}")


def words(text: str) -> str:
    """The letters of a template, without what is filled in."""
    return "".join(c for c in text.replace(MARK, "") if c.isalpha())
