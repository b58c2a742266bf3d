"""How Sphinx builds the site: make docs."""

import logging
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stvh_jax import __version__  # noqa: E402

project = "stvh_jax"
author = "The stvh_jax authors"
copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
html_theme = "furo"
html_title = "stvh_jax"
exclude_patterns = ["_build", "api/modules/modules.rst"]
# Sphinx writes a page of its own to search.html, and would replace ours without a warning.
assert not (ROOT / "docs" / "search.md").exists(), "name the page otherwise: docs/searching.md"
highlight_language = "none"
# It reports each of its builds that the processor has no use for.
logging.getLogger("faiss").setLevel(logging.WARNING)

# Markdown: $...$ and $$...$$ are formulas, and headings of three levels can be linked to.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# A page for each package, made from its docstrings; docs/api/modules/ is not kept in Git. The
# public names of stvh_jax itself are documented where they are defined.
apidoc_modules = [{"path": "../stvh_jax", "destination": "api/modules", "max_depth": 2}]
os.environ["SPHINX_APIDOC_OPTIONS"] = "members,ignore-module-all"

# Docstrings are Google's style; a word in single backquotes is code, as in Markdown.
default_role = "code"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100

# Addresses on other machines are not asked; those of files and headings are.
linkcheck_ignore = [r"https?://"]


def setup(app) -> None:
    """Lets docstrings be written as the Markdown pages are."""
    # Before napoleon, which has the usual priority of 500: it turns sections into fields.
    app.connect("autodoc-process-docstring", from_markdown, priority=400)


def from_markdown(app, what, name, documented, options, lines: list[str]) -> None:
    """Brings what docstrings share with Markdown to reStructuredText; changes `lines`.

    A paragraph between $$ is a formula, one that is indented by four spaces is shown as it is, and
    |F| is not a substitution.
    """
    text = re.sub(
        r"^( *)\$\$(?P<formula>.+?)\$\$$"
        r"|(?<=\n\n)(?P<block>    \S[^\n]*(?:\n    [^\n]*)*)"
        r"|(?P<code>`[^`]*`)"
        r"|\|",
        _translated,
        "\n".join(lines),
        flags=re.MULTILINE | re.DOTALL,
    )
    lines[:] = text.split("\n")


def _translated(found: re.Match) -> str:
    if found["formula"]:
        return f"{found[1]}.. math:: {' '.join(found['formula'].split())}\n"
    if found["block"]:
        return f"::\n\n{found['block']}"
    return found["code"] or r"\|"
