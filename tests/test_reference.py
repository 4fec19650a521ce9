"""The reference: every public name has an entry, and says what it takes, gives and raises."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from importlib import import_module
from pathlib import Path

import public_names
import pytest

from stiffguide import methods
from stiffguide.adapters import diffusion
from stiffguide.adapters.diffusion import cfg_pp
from stiffguide.errors import Status

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
PLAIN = re.compile(r"sg((?:\.\w+)+)")
SHAPE = re.compile(
    r"\([a-z_]+,\)|\((?:[A-Z*.][^()]*)?\)|\([^()]*\b[A-Z]\b[^()]*\)|\bscalars?\b|\b[Ss]hapes?\b"
)
# modules without an `__all__` all of whose names are for users, but for those named
WHOLE = {
    "stiffguide.errors": {"printable"},
    "stiffguide.estimators": set(),
    "stiffguide.tables": set(),
    "stiffguide.verification": set(),
    "stiffguide.inputs": set(),
    "stiffguide.stepping.contracts": set(),
    "stiffguide.stepping.output": {"Keeper", "kept"},  # what kernels ask an output
    "stiffguide.stepping.controllers": {"PIDState", "GridState"},
    "stiffguide.tableaux.additive": set(),
    "stiffguide.tableaux.continuous": set(),
    "stiffguide.tableaux.exact": set(),
    "stiffguide.tableaux.file": set(),
    "stiffguide.tableaux.order": set(),
    "stiffguide.tableaux.rosenbrock": set(),
    "stiffguide.tableaux.stability": set(),
    "stiffguide.tableaux.tableau": {"Coefficients"},
    "stiffguide.tableaux.trees": set(),
    "stiffguide.fronts.scipy": set(),
    "stiffguide.adapters.diffusion.grid": set(),
    "stiffguide.adapters.diffusion.metrics": set(),
    "stiffguide.adapters.diffusion.curves": set(),
    "stiffguide.adapters.diffusion.image_scores": set(),
    "stiffguide.adapters.diffusion.problems": set(),
}
# of an `__all__`, what is for the backends
NOT_FOR_USERS = {"stiffguide.solution": {"Result", "presented"}}
# whose `__all__` is for other packages of ours; what users take of them, `stiffguide` exports
INNER = {"stiffguide.kernels", "stiffguide.catalogue.esdirk", "stiffguide.tracing.tracer"}


def packages():
    """The modules with an `__all__`, by their sources."""
    for path in sorted(SOURCE.rglob("*.py")):
        if re.search(r"^__all__ =", path.read_text(encoding="utf-8"), re.MULTILINE):
            parts = path.relative_to(SOURCE).with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__")


PUBLIC = sorted(set(packages()) - INNER)


def entered(name, value):
    """Whether a name has an entry, or what it means has one under another name."""
    known = public_names.entries()
    if name in public_names.targets():
        return True
    if inspect.ismodule(value):
        homes = (f"{getattr(entry.value, '__module__', '')}." for entry in known)
        return any(home.startswith(f"{value.__name__}.") for home in homes)
    if inspect.isclass(value) or inspect.isroutine(value):
        return any(entry.value is value for entry in known)
    return any(entry.name == name for entry in known)


def missing(module, names):
    found = import_module(module)
    return [name for name in names if not entered(f"{module}.{name}", getattr(found, name))]


@pytest.mark.parametrize("module", PUBLIC)
def test_every_exported_name_has_an_entry(module):
    names, others = set(import_module(module).__all__), NOT_FOR_USERS.get(module, set())
    assert others <= names
    assert missing(module, sorted(names - others)) == []


@pytest.mark.parametrize("module", WHOLE)
def test_every_name_of_a_module_for_users_has_an_entry(module):
    names = public_names.public(import_module(module))
    assert WHOLE[module] <= set(names)
    assert missing(module, [name for name in names if name not in WHOLE[module]]) == []


def named_in(page):
    """The functions and classes of ours that the blocks of a page name, and where it takes them."""
    for block in re.findall(
        r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    ):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stiffguide"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Attribute) and (name := PLAIN.fullmatch(ast.unparse(node))):
                yield f"stiffguide{name[1]}"


def test_every_name_that_the_manual_takes_has_an_entry():
    pages = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    taken = [(page.name, name) for page in pages for name in named_in(page)]
    assert len(taken) > 100
    unknown = []
    for page, name in taken:
        value = public_names.resolved(name)
        ours = getattr(value, "__module__", "").startswith("stiffguide.")
        if ours and not isinstance(value, Status) and not entered(name, value):
            unknown.append((page, name))
    assert unknown == []


def test_every_family_and_every_sampler_has_an_entry():
    made = [methods.get(name) for name in methods.names()]
    made += [*methods.ADDITIVE.values(), *diffusion.SAMPLERS.values(), *cfg_pp.FAMILY]
    known = {entry.value for entry in public_names.entries() if inspect.isclass(entry.value)}
    assert {type(one) for one in made} <= known


def test_entries_are_described_once_and_their_members_exist():
    names = [entry.name for entry in public_names.entries()]
    assert len(names) > 300
    assert [name for name in names if names.count(name) > 1] == []
    for entry in public_names.entries():
        text = public_names.sentences(entry.name)
        assert text.split("\n")[0].endswith((".", "?")), entry.name
        for member in entry.shown:
            known = hasattr(entry.value, member) or member in public_names.fields(entry.value)
            assert known, f"{entry.name}.{member}"


def test_every_page_of_the_reference_is_in_its_index():
    pages = {path.stem for path in (ROOT / "docs").glob(public_names.PAGES)}
    assert {entry.page for entry in public_names.entries()} == pages
    index = public_names.index()
    for entry in public_names.entries():
        assert f"<{entry.name}>`" in index
    assert all(row.count(" | ") == 1 for row in index.splitlines() if row.startswith("| {py"))


def functions():
    """Functions, constructors and members with entries, and all that the page says of each."""
    for entry in public_names.entries():
        value, said = entry.value, public_names.sentences(entry.name)
        if inspect.isroutine(value):
            yield entry.name, inspect.unwrap(value), said + shared(entry)
        elif inspect.isclass(value) and not getattr(value, "_is_protocol", False):
            for name in ("__init__", "__post_init__", *entry.shown):
                found = None if name in public_names.fields(value) else vars(value).get(name)
                found = getattr(found, "fget", None) or getattr(found, "func", found)
                found = getattr(found, "__func__", found)
                if inspect.isfunction(found) and written(found, value):
                    own = inspect.getdoc(found) or "" if not name.startswith("__") else ""
                    yield f"{entry.name}.{name}", found, f"{own}\n{said}{shared(entry)}"


def written(function, cls):
    """Whether it stands in the file of the class: what a dataclass makes does not."""
    return function.__module__ == cls.__module__ and function.__code__.co_filename != "<string>"


def shared(entry):
    """What is told of a module, and so of all of its functions, where the page shows it."""
    page = (ROOT / "docs" / f"{entry.page}.md").read_text(encoding="utf-8")
    home = getattr(entry.value, "__module__", "")
    return import_module(home).__doc__ if f"automodule:: {home}\n" in page else ""


def test_functions_of_tensors_name_shapes():
    silent = []
    for name, function, text in functions():
        takes = " ".join(map(str, function.__annotations__.values()))
        if "Tensor" in takes and not SHAPE.search(text):
            silent.append(name)
    assert silent == []


def test_errors_that_a_function_raises_are_named():
    silent = []
    for name, function, text in functions():
        if not Path(function.__code__.co_filename).is_file():
            continue  # hypothesis makes strategies anew; they refuse nothing
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
        kinds = {ast.unparse(error).partition("(")[0] for error in raised}
        silent += [f"{name}: {kind}" for kind in sorted(kinds) if kind not in text]
    assert silent == []


def test_docstrings_become_markup():
    pytest.importorskip("sphinx", reason="the docs extra is not installed")
    docstrings = import_module("docstrings")

    def shown(text, *names):
        blocks = [part for block in text.split("\n\n") for part in docstrings._apart(block)]
        return "\n".join(line for b in blocks for line in docstrings.paragraph(b, list(names)))

    assert (
        shown("a|b| with `c*` and *this*, 2*3*k") == "a\\|b\\| with ``c*`` and *this*, 2\\*3\\*k\n"
    )
    assert shown("rtol, atol: two.\nnorm: one. dt: last.", "rtol", "atol", "norm", "dt").split(
        "\n"
    ) == [*("``rtol``, ``atol``", "    two.", "``norm``", "    one.", "``dt``", "    last.", "")]
    full = "~stiffguide.errors.InputError"
    assert (
        shown("A thing; raises InputError for none.") == f"A thing.\n\n:raises {full}: for none\n"
    )
    text = "One. Raises InputError (a ValueError) where\nit is, and TypeError, naming it."
    assert shown(text).split("\n")[2:] == [
        *(f":raises {full}: (a ValueError) where it is", ":raises TypeError: naming it", "")
    ]
    assert shown("Raises TypeError and ValueError for both.").count("for both") == 2
    assert shown("See docs/dae.md.") == "See :doc:`dae`.\n"


def test_signatures_name_entries_and_no_module_of_ours_that_has_none():
    pytest.importorskip("sphinx", reason="the docs extra is not installed")
    docstrings = import_module("docstrings")
    known = set(public_names.targets())
    for entry in public_names.entries():
        if not callable(entry.value):
            continue
        kind = "class" if inspect.isclass(entry.value) else "function"
        found = docstrings.to_signature(None, kind, entry.name, entry.value, None, "", None)
        text = " ".join(filter(None, found or ()))
        assert set(re.findall(r"stiffguide(?:\.\w+)+", text)) <= known, entry.name
        assert "<" not in text, entry.name  # which Sphinx could not read, nor break into lines
    text = docstrings.to_signature(
        None, "function", "", import_module("stiffguide").solve, None, "", None
    )
    assert "y0: stiffguide.inputs.State" in text[0]
    assert "gradient: Literal['auto', 'direct', " in text[0]
    assert text[1] == "stiffguide.Solution[Any]"


def test_code_means_an_entry_where_it_is_plain_which():
    target = public_names.target
    assert target("solve") == target("stiffguide.solve") == target("solve()") == "stiffguide.solve"
    assert target("Solution.at") == "stiffguide.Solution.at"
    assert target("Event") == "stiffguide.Event"
    assert target("get") is target("grid") is target("rtol") is target("y0 + 1") is None
    assert target("get", "stiffguide.problems.names") == "stiffguide.problems.get"
    assert target("at", "stiffguide.Solution") is None  # code of one letter case names no member
    assert target("Solution", "stiffguide.Solution") is None  # a page does not point at itself
