"""How the manual is built: `make docs`."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / folder) for folder in ("src", "tests", "tools"))]
os.environ.setdefault("OMP_NUM_THREADS", "1")

import combinations  # noqa: E402
import docstrings  # noqa: E402
import equivalents  # noqa: E402
import public_names  # noqa: E402
import references  # noqa: E402
import sources  # noqa: E402

import stiffguide  # noqa: E402
from stiffguide.cli.catalogue import method_table  # noqa: E402
from stiffguide.cli.tables import Table  # noqa: E402

project = "stiffguide"
author = project_copyright = "the stiffguide developers"
version = release = stiffguide.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_gallery.gen_gallery", "executed"]
exclude_patterns = ["_build", "_generated"]
html_theme = "furo"
html_title = f"stiffguide {version}"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_js_files = ["manual.js"]
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# STIFFGUIDE_DOCS=plain builds every page and runs no script of the gallery
sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "plot_gallery": os.environ.get("STIFFGUIDE_DOCS") != "plain",
    "abort_on_example_error": True,
    "within_subsection_order": "gallery.Order",
    "reset_modules": ("gallery.styled",),
    "capture_repr": (),
    "image_scrapers": ("gallery.films", "matplotlib"),
    "remove_config_comments": True,
    "thumbnail_size": (420, 280),
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "download_all_examples": False,
    "show_signature": False,
    "inspect_global_variables": False,
}
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
smartquotes_action = "D"  # dashes only: what docstrings have in quotes is code
nitpicky = True  # of our own names; those of torch and numpy have no pages here
nitpick_ignore_regex = [
    ("py:.*", r"(?!stiffguide\.).*"),
    ("py:.*", r"stiffguide\.solution\.solution\.Y"),
]


def write_tables(app):
    """The methods, what goes with what, diffusers' schedulers, and the names of the reference."""
    folder = HERE / "_generated"
    folder.mkdir(exist_ok=True)
    tables = {
        "methods_table": by_family(method_table()),
        "combinations": combinations.table(),
        "schedulers": sources.table(),
        "bibliography": references.methods(),
        **equivalents.tables(),
        "reference_index": public_names.index(),
    }
    for name, text in tables.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def by_family(table):
    """A table for each family, and one of sources: all columns at once are wider than a page."""
    names = {row[0]: row for row in table.rows}
    families = dict.fromkeys(row[1] for row in table.rows)
    parts = []
    for family in families:
        own = Table(family, (table.columns[0], *table.columns[2:-1]), left=table.left)
        own.rows = [(row[0], *row[2:-1]) for row in names.values() if row[1] == family]
        parts += [f"### {family}", own.markdown()]
    sources = Table("Sources", (table.columns[0], table.columns[-1]), left=table.left)
    sources.rows = [(row[0], row[-1]) for row in names.values()]
    return "\n\n".join((*parts, "### Sources", sources.markdown()))


def setup(app):
    """Connect the above, and what docstrings and signatures are shown by."""
    app.connect("builder-inited", write_tables)
    docstrings.connect(app)
