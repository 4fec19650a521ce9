"""The manual shows what its blocks print and draw, and is not built where one fails."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = """# A page

```python
x = 6
print("x has arrived")
```

Text.

```toml
x = 1
```

```python
from matplotlib import pyplot as plt

figure, axes = plt.subplots()
axes.plot([0, x])
axes.set_title("A line")
```

```python
%s
```
"""
CONF = """
import sys
sys.path.append(%r)
extensions = ["myst_parser", "executed"]
"""


@pytest.fixture
def manual(tmp_path):
    """A manual of one page, beside a copy of the extension, and how it is built."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("docs/executed.py", "tools/blocks.py"):
        copy = tmp_path / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    (tmp_path / "src").mkdir()
    (folder / "conf.py").write_text(CONF % str(folder))

    def build(last="print(x + 1)", **environment):
        (folder / "index.md").write_text(PAGE % last)
        ended = subprocess.run(
            [sys.executable, "-m", "sphinx", "-W", "-q", folder, tmp_path / "html"],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return ended, (tmp_path / "html" / "index.html").read_text()

    return build


@pytest.mark.slow
def test_outputs_and_pictures_stand_under_their_blocks(manual, tmp_path):
    ended, page = manual()
    assert ended.returncode == 0, ended.stderr
    places = [page.index(text) for text in ("has arrived\n<", "Text.", 'alt="A line"', ">7\n<")]
    assert places == sorted(places)
    (kept,) = (tmp_path / "docs/_generated/outputs").iterdir()
    found = json.loads((kept / "found.json").read_text())
    assert [block["text"] for block in found] == ["x has arrived\n", "", "7\n"]
    assert [len(block["pictures"]) for block in found] == [0, 1, 0]


@pytest.mark.slow
def test_what_changes_runs_again_and_nothing_else(manual, tmp_path):
    seen = []
    for last, package in (("x", ""), ("x", ""), ("x + 100", ""), ("x + 100", "y = 1")):
        (tmp_path / "src" / "package.py").write_text(package)
        ended, page = manual(f"print({last})")
        assert ended.returncode == 0, ended.stderr
        (kept,) = (tmp_path / "docs/_generated/outputs").iterdir()
        seen.append((kept / "found.json").stat().st_ino)
        assert ("106\n<" in page) == ("100" in last)
    assert [a == b for a, b in itertools.pairwise(seen)] == [True, False, False]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import warnings; warnings.warn('soon gone', DeprecationWarning)", "soon gone"),
    ],
)
def test_a_block_that_fails_fails_the_build(manual, last, sentence):
    ended, page = manual(last)
    assert ended.returncode != 0
    assert "index.md" in ended.stderr
    assert sentence in ended.stderr
    assert "has arrived\n<" not in page  # nothing is shown of a page that does not run


@pytest.mark.slow
def test_plain_pages_run_nothing(manual):
    ended, page = manual("1 / 0", STIFFGUIDE_DOCS="plain")
    assert ended.returncode == 0, ended.stderr
    assert "A page" in page
