"""What is loaded when: public names are found as they are asked for, and stay what they are."""

from __future__ import annotations

import ast
import copy
import functools
import importlib
import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import stiffguide
from stiffguide import kernels
from stiffguide.cli.app import app

ROOT = Path(stiffguide.__file__).parent
LAZY = (stiffguide, kernels)
MODULES = sorted(
    path.stem
    for path in ROOT.iterdir()
    if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.name[0] != "_"
)
KERNELS = {"kernels.backend", "kernels.emitting", "kernels.running", "tracing", "graphs"}
HEAVY = {"torch", "scipy", "numpy.f2py", *(f"stiffguide.{name}" for name in KERNELS)}
SOLVE = "sg.solve(lambda t, y: -y, torch.ones(2), 0.0, 1.0"
COMMAND = "sys.argv[1:] = {}; from stiffguide.cli import main; main()"


def fresh(text):
    """What a program prints that has an interpreter of its own."""
    env = os.environ | {"PYTHONPATH": str(ROOT.parent)}
    done = subprocess.run(
        [sys.executable, "-c", text], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(text):
    """The heavy modules that a program has loaded in the end."""
    text = (
        f"import sys, atexit\natexit.register(lambda: print(*{HEAVY} & sys.modules.keys()))\n{text}"
    )
    return set(fresh(text).splitlines()[-1].split())


# what is loaded -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "import stiffguide as sg; sg.__version__, dir(sg), sg.__doc__",
        "from stiffguide import InputError, Status, errors",
        "import stiffguide as sg; hasattr(sg, 'nothing'), hasattr(sg, '__wrapped__'), sg.kernels",
    ],
)
def test_names_that_need_no_torch_load_none(text):
    assert loaded(text) == set()


def test_an_eager_solve_loads_torch_alone():
    solves = [f"{SOLVE}, method={method!r})" for method in ("tsit5", "rodas5p", "kvaerno5")]
    solves = [f"{solve[:-1]}, backend='eager')" for solve in solves]
    found = loaded(f"import torch, stiffguide as sg; {'; '.join(solves)}")
    assert found == {"torch", "stiffguide.tracing"}  # its fingerprint, for gradients


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_command_line_explains_itself_without_torch(option):
    assert loaded(COMMAND.format([option])) == set()


@pytest.mark.parametrize("command", app.commands)
def test_a_command_explains_itself_without_torch(command):
    assert loaded(COMMAND.format([command, "--help"])) == set()


def test_kernels_are_loaded_when_asked_for():
    found = loaded(f"import torch, stiffguide as sg; {SOLVE}, backend='kernel')")
    assert {f"stiffguide.{name}" for name in KERNELS} <= found


# names --------------------------------------------------------------------------------------------


def told(package):
    """The names that a type checker is told of, and the modules that it finds them in."""
    tree = ast.parse(Path(package.__file__).read_text())
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and not node.orelse and isinstance(node.test, ast.Name)
    )
    return {alias.name: node.module for node in block.body for alias in node.names}


@pytest.mark.parametrize("package", LAZY)
def test_checkers_are_told_what_is_found(package):
    own = {name for name, home in told(package).items() if home == package.__name__}
    assert {name: home for name, home in told(package).items() if name not in own} == package._homes
    light = {"ASKED", "SWITCHED", "UNBOUNDED", "Backend", "Way", "way"}
    assert {*package.__all__} - own - light == {*package._homes}
    assert own <= {*MODULES}


@pytest.mark.parametrize("package", LAZY)
def test_every_name_is_the_one_of_its_home_and_is_kept(package):
    for name, home in package._homes.items():
        found = getattr(package, name)
        assert vars(package)[name] is found is getattr(importlib.import_module(home), name)
    assert {*package.__all__} <= {*dir(package)}


def test_every_module_is_an_attribute():
    text = f"""
import stiffguide as sg
for name in {MODULES}:
    print(name, getattr(getattr(sg, name), "__name__", None))
"""
    found = dict(line.split() for line in fresh(text).splitlines())
    functions = {name: name for name in ("resume", "solve")}
    assert found == {name: f"stiffguide.{name}" for name in MODULES} | functions


@pytest.mark.parametrize("name", ["sovle", "_find", "__main__", "__wrapped__", "kernels.names", ""])
def test_an_unknown_name_is_refused_as_by_any_module(name):
    with pytest.raises(AttributeError) as plain:
        getattr(ModuleType("stiffguide"), name)
    with pytest.raises(AttributeError) as refused:
        getattr(stiffguide, name)
    assert str(refused.value) == str(plain.value)
    assert (refused.value.name, refused.value.obj) == (name, stiffguide)


def test_what_a_module_misses_is_not_hidden():
    text = """
import sys, stiffguide as sg
sys.modules["stiffguide.errors"] = None
for name in ("fields", "arguments", "InputError"):
    try:
        getattr(sg, name)
    except ModuleNotFoundError as error:
        print(name, error.name)
"""
    missed = ["arguments stiffguide.errors", "InputError stiffguide.errors"]
    assert fresh(text).splitlines() == missed


# `solve` is a module, too -------------------------------------------------------------------------

ORDERS = (
    "import stiffguide.solve",
    "from stiffguide import solve; f = solve",
    "from stiffguide.solve import solve; f = solve",
    "import stiffguide.solve as f",
    "import stiffguide; f = stiffguide.solve; import stiffguide.solve",
    "from stiffguide import *; f = solve; import stiffguide.solve",
    "import stiffguide.fronts.scipy",
    "import importlib; assert importlib.import_module('stiffguide.solve').__spec__",
)
FUNCTION = """
import sys, stiffguide as sg
assert type(sg.solve) is type(lambda: 0), sg.solve
assert sg.solve is globals().get("f", sg.solve) is sys.modules["stiffguide.solve"].solve
"""
THREADS = """
import importlib, threading
import stiffguide as sg
names = ["stiffguide.solve", "stiffguide.fronts.scipy", "stiffguide", "stiffguide.kernels"] * 3
start, found = threading.Barrier(len(names)), []
def load(name):
    start.wait()
    importlib.import_module(name)
    found.append(sg.solve)
threads = [threading.Thread(target=load, args=(name,)) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == len(names) and set(found) == {sg.solve}
"""


REPLACED = """
import sys, stiffguide as sg
sg.solve = 1
import stiffguide.solve
assert sg.solve == 1 and "stiffguide.solve" in sys.modules
del sg.solve
assert sg.solve is sys.modules["stiffguide.solve"].solve
sg.solve = 2
assert sg.solve == 2
"""
AGAIN = """
import importlib, sys, stiffguide as sg
first, sg.solve = sg.solve, None
assert importlib.reload(sg) is sg
assert sg.solve is first
again = importlib.reload(sys.modules["stiffguide.solve"])
assert sg.solve is first is not again.solve
assert importlib.reload(sg).solve is again.solve
assert importlib.reload(sg.kernels) is sg.kernels and sg.kernels.solve is not sg.solve
"""
TEXTS = {
    **{order: order + FUNCTION for order in ORDERS},
    "by threads at once": THREADS + FUNCTION,
    "replaced before and after": REPLACED,
    "loaded again": AGAIN,
}


@functools.cache
def failed():
    """The names of the texts that fail; torch is loaded once, and this package in every fork."""
    return fresh(f"""
import os, torch
for name, text in {TEXTS}.items():
    if not os.fork():
        exec(text, {{"__name__": "__main__"}})
        os._exit(0)
    if os.wait()[1]:
        print(name)
""").splitlines()


@pytest.mark.parametrize("name", TEXTS)
def test_solve_is_the_function_however_it_is_imported(name):
    assert name not in failed()


@pytest.mark.parametrize("package", LAZY)
def test_a_package_is_a_module_to_all_who_look(package):
    assert inspect.ismodule(package)
    assert inspect.getsourcefile(package) == package.__file__
    assert dict(inspect.getmembers(package)).keys() >= {*package.__all__}
    assert pickle.loads(pickle.dumps(package)) is copy.copy(package) is copy.deepcopy(package)
    assert repr(package).startswith(f"<module '{package.__name__}' from")


def test_public_names_are_pickled_by_their_homes():
    for name in stiffguide.__all__:
        if not inspect.ismodule(value := getattr(stiffguide, name)):
            assert pickle.loads(pickle.dumps(value)) is value
