"""Docstrings and signatures as the manual shows them.

Docstrings are plain sentences. What they say of arguments becomes a list, what they raise a field,
and code that is a public name a link; of signatures, types stand as the source writes them.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any, get_origin

import public_names
from docutils import nodes
from sphinx import addnodes
from sphinx.pycode import ModuleAnalyzer

CODE = re.compile(r"`([^`]+)`")
ERROR = r"(?:[A-Z]\w*(?:Error|Failed|Interrupted)|Interrupted)"
ERRORS = re.compile(rf"(?<!\(a )({ERROR}(?:(?:, | and |, and ){ERROR})*)")
FOREIGN = re.compile(r"(?<![\w.])(?!stiffguide)(?:[a-z_]\w*\.)+(?=[A-Z])")
RAISES = re.compile(rf"(?:(?<=[.)])\s+Raises|;\s+raises)\s+(?={ERROR})")
# classes that nobody makes by hand: they come back
RESULTS = {"Solution", "Stats", "Fit", "Prepared", "Compiled", "Explanation", "Table"}
RESULTS |= {"Sample", "AdaptiveSample", "Roughness", "OdeSolution", "ModelGuidance"}


def to_markup(app, what, name, obj, options, lines):
    """Escape plain text, keep `code`, and make lists of arguments, errors and hanging indents."""
    if what == "module":
        lines[:] = _for_users("\n".join(lines)).split("\n")
    if what == "data":
        lines[:] = public_names.sentences(name).split("\n")
    if what == "attribute" and any(line.startswith("Alias for field") for line in lines):
        lines[:] = [""]
    names = _arguments(obj)
    blocks = "\n".join(lines).strip("\n").split("\n\n")
    parts = [part for block in blocks for part in _apart(block)]
    lines[:] = [line for part in parts for line in paragraph(part, names)]


def _for_users(text: str) -> str:
    """The docstring of a module without its advice to those who read the source."""
    parts = text.replace(" Read this file first.", "").strip().split("\n\n")
    return "\n\n".join(p for p in parts if not re.search(r"\bRead `|imported|Imports ", p))


def _arguments(obj: Any) -> list[str]:
    try:
        return list(inspect.signature(obj).parameters)
    except (TypeError, ValueError):
        return []


def _apart(block: str) -> list[str]:
    """A paragraph, and what it raises as one of its own."""
    if block.startswith((" ", ">>>", "- ")):
        return [block]
    first, *errors = RAISES.split(block)
    end = "" if not errors or first[-1:] in ".)" else "."
    return [first + end, *(f"Raises {text}" for text in errors)]


def paragraph(block: str, names: list[str]) -> list[str]:
    """The lines of one paragraph: code, a list, errors, or text; a blank line ends it."""
    rows = block.split("\n")
    if rows[0].startswith(">>>"):
        return [*rows, ""]
    if all(row.startswith("    ") for row in rows):
        return ["::", "", *rows, ""]
    if re.match(rf"Raises {ERROR}", block):
        return [*_raised(" ".join(row.strip() for row in rows).removeprefix("Raises ")), ""]
    if found := _described(block, names):
        return found
    dashes = rows[0].startswith("- ")
    if not dashes and not any(row.startswith(" ") for row in rows[1:]):
        return [*escape(block).split("\n"), ""]
    made = []
    for row in rows:
        starts = row.startswith("- ") if dashes else not row.startswith(" ")
        text = escape(row.removeprefix("- ").strip())
        made.append(f"* {text}" if starts else f"  {text}")
    return [*made, ""]


def _raised(text: str) -> list[str]:
    """A field for each error, or for each few that are raised for one reason."""
    _, *parts = ERRORS.split(text)
    found = []
    for errors, why in zip(parts[::2], parts[1::2], strict=True):
        reason = escape(re.sub(r"(,| and|, and)\s*$", "", why).strip(" ,."))
        for error in re.findall(ERROR, errors):
            full = public_names.target(error)
            found.append(f":raises {f'~{full}' if full else error}: {reason}")
    return found


def _described(block: str, names: list[str]) -> list[str]:
    """A list of arguments, where a paragraph begins with one: "rtol, atol: numbers, ..."."""
    known = "|".join(map(re.escape, names))
    starts = re.compile(rf"(?:^|(?<=\n)|(?<=\. ))((?:{known})(?:, (?:{known}))*):\s+")
    if not names or not starts.match(block):
        return []
    _, *parts = starts.split(block)
    made = []
    for heads, text in zip(parts[::2], parts[1::2], strict=True):
        made.append(", ".join(f"``{head}``" for head in heads.split(", ")))
        made += [f"    {row.strip()}" for row in escape(text.strip()).split("\n")]
    return [*made, ""]


def escape(text: str) -> str:
    """Only what stands between backticks is markup."""
    parts = CODE.split(text)
    plain = [re.sub(r"([*|_\\`])", r"\\\1", part) for part in parts[::2]]
    plain = [
        re.sub(r"(?<!\w)\\\*(\w+)\\\*(?!\w)", r"*\1*", part) for part in plain
    ]  # what is stressed
    plain = [re.sub(r"\bdocs/([\w\\]+)\.md", _page, part) for part in plain]
    code = [f"``{part}``" for part in parts[1::2]]
    pairs = zip(plain, [*code, ""], strict=True)
    return "".join(p + c for p, c in pairs)


def _page(found: re.Match[str]) -> str:
    return f":doc:`{found[1].replace(chr(92), '')}`"


def to_signature(app, what, name, obj, options, signature, returns):
    """The arguments with types as they are written, of records and protocols none."""
    if signature is None or not callable(obj):
        return None
    if inspect.isclass(obj):
        listed = issubclass(obj, tuple) and name in public_names.with_members()
        listed |= getattr(obj, "_is_protocol", False) or issubclass(obj, (Exception, int))
        if listed or obj.__name__ in RESULTS:
            return "", None
    try:
        found = inspect.signature(obj)
    except (TypeError, ValueError):
        return None
    home = _home(obj)
    given = list(found.parameters.values())
    if what == "method" and inspect.isfunction(obj) and given and given[0].name == "self":
        given = given[1:]
    given = [_argument(p, home) for p in given]
    result = found.empty if inspect.isclass(obj) else _typed(found.return_annotation, home)
    shown = str(found.replace(parameters=given, return_annotation=found.empty))
    return shown, None if result is found.empty else result


def _argument(p: inspect.Parameter, home: dict[str, Any]) -> inspect.Parameter:
    """An argument as it is written; what no source can say of a default, by its name."""
    p = p.replace(annotation=_typed(p.annotation, home))
    if not repr(p.default).startswith("<") or p.default is p.empty:
        return p
    return p.replace(default=_Text(getattr(p.default, "__name__", "...")))


def _home(obj: Any) -> dict[str, Any]:
    """The names that annotations of an object are written in."""
    function = obj.__init__ if inspect.isclass(obj) and inspect.isfunction(obj.__init__) else obj
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    module = getattr(function, "__module__", None) or obj.__module__
    if inspect.isclass(obj) and not hasattr(function, "__globals__"):
        module = obj.__module__
    return vars(sys.modules.get(module, builtins))


class _Text(str):
    """Code that stands in a signature as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _typed(annotation: Any, home: dict[str, Any]) -> _Text | type[inspect.Parameter.empty]:
    """An annotation as it is written, public names in full."""
    if annotation is inspect.Parameter.empty:
        return inspect.Parameter.empty
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _Text(ast.unparse(_Names(home).visit(_parsed(text))))


class _Names(ast.NodeTransformer):
    """Public names in full, literals by their values, all else as it is written."""

    def __init__(self, home: dict[str, Any]) -> None:
        self.home = home

    def visit_Name(self, node: ast.Name) -> ast.AST:
        value = self.home.get(node.id)
        for full in public_names.targets().get(node.id, ()):
            if public_names.resolved(full) is value:
                return _parsed(full)
        if inspect.isclass(value) and value.__module__.startswith("stiffguide."):
            return _parsed(public_names.public_name(f"{value.__module__}.{value.__qualname__}"))
        if get_origin(value) is None or getattr(value, "__parameters__", ()):
            return node
        return self.visit(_parsed(FOREIGN.sub("", repr(value))))  # an alias that has no entry

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        name = ast.unparse(node)
        return _parsed(public_names.public_name(name)) if name.startswith("stiffguide.") else node


def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def link(app, doctree):
    """Code that is a public name becomes a link, once a section or entry."""
    seen: dict[int, set[str]] = {}
    for node in list(doctree.findall(nodes.literal)):
        place, within = _place(node)
        if place is None:
            continue
        full = public_names.target(node.astext(), within)
        if full is None or full in seen.setdefault(id(place), set()):
            continue
        seen[id(place)].add(full)
        kind = {"refdomain": "py", "reftype": "obj", "refexplicit": True, "refwarn": True}
        kind |= {"reftarget": full, "refdoc": app.env.docname}
        node.replace_self(addnodes.pending_xref("", node.deepcopy(), **kind))


def _place(node: nodes.Node) -> tuple[nodes.Node | None, str]:
    """The section or entry around code, and the name of the entry; None where links are no use."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, (nodes.title, nodes.reference, addnodes.pending_xref)):
            return None, ""
        if isinstance(node, (addnodes.desc_signature, nodes.topic)):
            return None, ""
        if isinstance(node, addnodes.desc):
            signature = node[0]
            return node, ".".join(filter(None, (signature["module"], signature["fullname"])))
        if isinstance(node, nodes.section):
            return node, ""
    return None, ""


def read_sources(app):
    """Tell autodoc what comments say behind the fields of records, and no overloads of `solve`."""
    analyzer = _analyzed("stiffguide.solve")
    analyzer.overloads.clear()  # which differ by one word
    for value in (entry.value for entry in public_names.entries()):
        if inspect.isclass(value) and value.__module__.startswith("stiffguide."):
            told = _analyzed(value.__module__).attr_docs
            for field, text in public_names.fields(value).items():
                if text:
                    told.setdefault((value.__qualname__, field), [_sentence(text), ""])


def _analyzed(module: str) -> ModuleAnalyzer:
    analyzer = ModuleAnalyzer.for_module(module)
    analyzer.analyze()
    return analyzer


def _sentence(text: str) -> str:
    if re.match(r"(?!dt\b)[a-z]{2,}\b(?![(_])", text):  # a word, and not a letter of a formula
        text = text[0].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def connect(app):
    """Let Sphinx ask the above, and read all pages anew where they have changed."""
    texts = (Path(module.__file__).read_bytes() for module in (sys.modules[__name__], public_names))
    app.add_config_value("made_by", [hashlib.sha256(text).hexdigest() for text in texts], "env")
    app.connect("builder-inited", read_sources)
    app.connect("autodoc-process-docstring", to_markup)
    app.connect("autodoc-process-signature", to_signature)
    app.connect("doctree-read", link)
