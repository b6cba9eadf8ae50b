"""Sphinx settings of the book. `python -m book.build` writes its pages first, then calls Sphinx with this file."""

import html
import sys

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml

from book.chapters import HOME, REPOSITORY

project = "Transformers for Emotion"
author = "the contributors of Transformers for Emotion"
copyright = "the contributors; code Apache-2.0, the corpus CC0 1.0"
language = "en"

extensions = ["myst_nb", "sphinx_book_theme"]
nb_execution_mode = "off"  # the notebooks are shown with the outputs that they are committed with
nb_ipywidgets_js = {}  # no widgets: nothing is loaded from elsewhere
nb_merge_streams = True  # one box for all that a cell prints
nb_mime_priority_overrides = [("html", "text/html", 0)]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
suppress_warnings = ["mystnb.unknown_mime_type"]

html_theme = "sphinx_book_theme"
html_title = "Transformers for Emotion"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_js_files = [("book.js", {"defer": "defer"})]
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is, until the reader chooses
html_copy_source = False  # what can be downloaded are the notebooks as they are in the repository
html_show_sourcelink = False
html_theme_options = {
    "repository_url": HOME,
    "repository_branch": "main",
    "use_repository_button": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # the side bar has the search already
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "max_navbar_depth": 1,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "extra_footer": f"Repository: {REPOSITORY}. Built from the notebooks as they were executed and committed.",
}


def _draw(tex: str, as_block: bool) -> str:
    """Return a formula as MathML; as it was typed, where it holds something that the converter does not know."""
    try:
        return tex2mathml(tex.replace("\\dots", "\\ldots"), as_block=as_block)
    except MathError as error:
        print(f"shown as typed: {tex} ({error})", file=sys.stderr)
        return f"<code>{html.escape(tex)}</code>"


def _show_inline(writer, node) -> None:
    writer.body.append(_draw(node.astext(), False))
    raise SkipNode


def _show_block(writer, node) -> None:
    writer.body.append(f'<div class="math">{_draw(node.astext(), True)}</div>')
    raise SkipNode


def setup(app) -> None:
    """Let formulas be MathML, which browsers show without a script from elsewhere."""
    app.add_html_math_renderer("mathml", (_show_inline, None), (_show_block, None))
    app.config.html_math_renderer = "mathml"
