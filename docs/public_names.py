"""What the reference's pages document: the entries, an index of them, and names as links to them.

A page `reference_*.md` says by directives of autodoc what stands on it; all else follows from that.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
PAGES = "reference_*.md"
TITLE = re.compile(r"^# (.+)", re.MULTILINE)
DIRECTIVE = re.compile(
    r"^\.\. auto(module|class|exception|function|data):: ([\w.]+)[()]*((?:\n   :.*)*)", re.MULTILINE
)
OPTION = re.compile(r":([a-z-]+): ?(.*)")


class Entry(NamedTuple):
    """A function, a class or a value, as a page names it."""

    name: str  # by which it is imported
    page: str
    shown: tuple[str, ...]  # members of a class that have entries of their own

    @property
    def value(self) -> Any:
        """What it is."""
        return resolved(self.name)


@cache
def resolved(name: str) -> Any:
    """What a name is to who imports it: of a function and a module of one name, the function."""
    value = import_module("stiffguide")
    done = "stiffguide"
    for part in name.split(".")[1:]:
        done = f"{done}.{part}"
        if inspect.ismodule(value) and not hasattr(value, part):
            import_module(done)
        if not hasattr(value, part):  # a function, that hides the module of the same name
            value = import_module(done.rpartition(".")[0])
        value = getattr(value, part)
    return value


@cache
def entries() -> tuple[Entry, ...]:
    """Of all pages, in the order of the index."""
    order = re.findall(r"^reference_\w+$", (HERE / "api.md").read_text("utf-8"), re.MULTILINE)
    return tuple(entry for page in order for entry in of_page(page))


def of_page(page: str) -> list[Entry]:
    """The entries of a page, in its order."""
    found = []
    text = (HERE / f"{page}.md").read_text(encoding="utf-8")
    for kind, name, more in DIRECTIVE.findall(text):
        options = dict(OPTION.findall(more))
        names = [name]
        if kind == "module":
            names = [f"{name}.{own}" for own in listed(options, public(import_module(name)))]
            options.pop("exclude-members", None)
            options["members"] = ""
        found += [Entry(own, page, shown(resolved(own), options)) for own in names]
    return found


def listed(options: dict[str, str], known: list[str]) -> list[str]:
    """The members that a directive asks for, of all that there are."""
    if "members" not in options:
        return []
    left_out = options.get("exclude-members", "").replace(",", " ").split()
    asked = options["members"].replace(",", " ").split() or known
    return [name for name in asked if name not in left_out]


def shown(value: Any, options: dict[str, str]) -> tuple[str, ...]:
    """The members of a class that a directive shows."""
    if not inspect.isclass(value):
        return ()
    names = dir(value) if "inherited-members" in options else [*vars(value), *fields(value)]
    bare = () if "undoc-members" in options or issubclass(value, tuple) else fields(value)
    known = [name for name in names if not name.startswith("_") and name not in bare]
    return tuple(dict.fromkeys(listed(options, known)))


def public(module: Any) -> list[str]:
    """The names of a module: `__all__`, or what it defines and describes, in its order."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    own = {
        name: value.__doc__
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and hasattr(value, "__qualname__")
    }
    known = own | described(module)
    return [name for name, text in known.items() if text and not name.startswith("_")]


@cache
def described(module: Any) -> dict[str, str]:
    """The values of a module that have a sentence below them, and the sentence."""
    found = {}
    body = ast.parse(inspect.getsource(module)).body
    for node, text in pairwise(body):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(text, ast.Expr):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and isinstance(text.value, ast.Constant):
                found[target.id] = inspect.cleandoc(str(text.value.value))
    return found


@cache
def fields(cls: type) -> dict[str, str]:
    """The fields of a record, and what the comments behind them say."""
    try:
        rows = inspect.getsource(cls).splitlines()
    except (OSError, TypeError):
        return {}
    said = (re.match(r"    (\w+): [^#]*(?:#\s*(.*))?$", row) for row in rows)
    values = (re.match(r"    ([A-Z_]+) = [^#]*(?:#\s*(.*))?$", row) for row in rows)
    return {m[1]: m[2] or "" for m in (*said, *values) if m}


def sentences(name: str) -> str:
    """The description of a function, of a class or of a value."""
    value = resolved(name)
    if inspect.isclass(value) or inspect.isroutine(value):
        return inspect.getdoc(value) or ""
    home, _, short = name.rpartition(".")
    return next((d[short] for d in map(described, homes(home)) if short in d), "")


def homes(package: str) -> list[Any]:
    """The module of that name, and those below it: a value may be described where it is made."""
    module = resolved(package)
    names = [name for name in sorted(sys.modules) if name.startswith(f"{package}.")]
    return [module, *(sys.modules[name] for name in names)]


def index() -> str:
    """A table of all entries for each page."""
    rows = []
    for page in dict.fromkeys(entry.page for entry in entries()):
        title = TITLE.search((HERE / f"{page}.md").read_text(encoding="utf-8"))
        rows += ["", f"## [{title[1]}]({page}.md)", "", "| name | what it is |", "|---|---|"]
        for entry in entries():
            if entry.page == page:
                _, _, short = entry.name.rpartition(".")
                said = _plain(sentences(entry.name).split("\n")[0])
                rows.append(f"| {{py:obj}}`{short} <{entry.name}>` | {said} |")
    return "\n".join(rows) + "\n"


def _plain(text: str) -> str:
    """A sentence for a table of Markdown: only what stands between backticks is markup."""
    parts = re.split(r"(`[^`]+`)", text)
    parts[::2] = [re.sub(r"([*_\\$<>\[\]{}~^])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts).replace("|", r"\|")


@cache
def with_members() -> frozenset[str]:
    """The classes whose members have entries."""
    return frozenset(entry.name for entry in entries() if entry.shown)


def public_name(home: str) -> str:
    """The name of an entry for a class that is defined there; the last part where it has none."""
    return _homes().get(home, home.rpartition(".")[2])


@cache
def _homes() -> dict[str, str]:
    classes = [(entry.value, entry.name) for entry in entries() if inspect.isclass(entry.value)]
    return {f"{value.__module__}.{value.__qualname__}": name for value, name in classes}


@cache
def targets() -> dict[str, tuple[str, ...]]:
    """Full names by every end of theirs that begins with the name of an entry, or before it."""
    found: dict[str, dict[str, None]] = {}
    for entry in entries():
        parts = entry.name.split(".")
        for tail in ((), *((name,) for name in entry.shown)):
            for k in range(len(parts)):
                end = ".".join((*parts[k:], *tail))
                found.setdefault(end, {})[".".join((*parts, *tail))] = None
    return {end: tuple(names) for end, names in found.items()}


def target(text: str, within: str = "") -> str | None:
    """The full name that code in a sentence means, if it is plain which; `within` is told where.

    A word in small letters is the name of a function only where the package itself has it, or the
    module that the sentence stands in.
    """
    text = text.removesuffix("()")
    names = targets().get(text, ())
    if len(names) > 1:
        near = [n for n in names if n.rpartition(".")[0] in (within, within.rpartition(".")[0])]
        names = near or [n for n in names if n == f"stiffguide.{text}"]
    if len(names) != 1 or names[0] == within:
        return None
    name = names[0]
    home = within.rpartition(".")[0]
    known = "." in text or text[0].isupper() or name == f"stiffguide.{text}"
    return name if known or name.rpartition(".")[0] == home else None
