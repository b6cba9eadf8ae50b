"""What the book makes of notebooks and documents before Sphinx sees them."""

import json
from pathlib import Path

import pytest

from book.chapters import HOME, find_terms_of, read_chapters, read_glossary
from book.links import Map, make_slug, mark_code
from book.pages import add_lists, draw_gallery, draw_map, list_objectives, prepare_notebook, write_glossary
from helpers.course.notebooks import find_notebooks
from helpers.files import ROOT

NOTEBOOK = ROOT / "notebooks/00_start_here.ipynb"


@pytest.fixture
def places(tmp_path) -> Map:
    for name in ("notebooks/00_a.ipynb", "notebooks/01_b.ipynb", "notebooks/solutions/01.md", "README.md", "code.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    pages = {"notebooks/00_a.ipynb": "notebooks/00_a.ipynb", "notebooks/01_b.ipynb": "notebooks/01_b.ipynb"}
    pages |= {"notebooks/solutions/01.md": "solutions/01.md", "README.md": "readme.md"}
    return Map({tmp_path / name: page for name, page in pages.items()}, {"token", "macro-f1"}, tmp_path)


@pytest.mark.parametrize(
    "link, found",
    [
        ("00_a.ipynb", "00_a.ipynb"),
        ("solutions/01.md", "../solutions/01.md"),
        ("../README.md#results", "../readme.md#results"),
        ("00_a.ipynb#macro-f1", "../glossary.md#macro-f1"),
        ("#token", "#token"),  # of notebook 01, whose anchors are its own
        ("#1-·-The-data,-read", "#1--the-data-read"),
        ("../code.py#L2", f"{HOME}/blob/main/code.py#L2"),
        ("../notebooks", f"{HOME}/tree/main/notebooks"),
        ("https://example.org/a#B", "https://example.org/a#B"),
    ],
)
def test_a_link_leads_to_the_book_or_to_github(link, found, places):
    assert places.find(link, places.root / "notebooks/01_b.ipynb") == found


def test_a_term_of_notebook_00_itself_is_in_the_glossary(places):
    assert places.find("#token", places.root / "notebooks/00_a.ipynb") == "../glossary.md#token"


def test_a_text_that_moves_to_another_page_takes_its_links_along(places):
    text = "[x](#3-·-Loss) and [y](01_b.ipynb)"
    moved = places.rewrite(text, places.root / "notebooks/00_a.ipynb", "curriculum.md")
    assert moved == "[x](notebooks/00_a.ipynb#3--loss) and [y](notebooks/01_b.ipynb)"


def test_code_is_left_as_it_is_and_html_links_lead_to_pages(places):
    text = 'a[`i`](solutions/01.md) `b[0](solutions/01.md)`\n```\nc[1](solutions/01.md)\n```\n<a href="00_a.ipynb#token">t</a>'
    assert places.rewrite(text, places.root / "notebooks/01_b.ipynb") == text.replace(
        "a[`i`](solutions/01.md)", "a[`i`](../solutions/01.md)"
    ).replace('"00_a.ipynb#token"', '"../glossary.html#token"')


def test_code_in_a_folded_answer_is_marked_as_html():
    assert mark_code("<summary>a `b < c`</summary>") == "<summary>a <code>b &lt; c</code></summary>"


@pytest.mark.parametrize(
    "heading, slug", [("1 · The data, read", "1--the-data-read"), ("`fit` and *more*", "fit-and-more")]
)
def test_slugs_are_github_s(heading, slug):
    assert make_slug(heading) == slug


def test_every_notebook_is_a_chapter_with_what_the_pages_need():
    chapters = read_chapters()
    assert [chapter.path for chapter in chapters] == find_notebooks()
    for chapter in chapters:
        assert chapter.title.startswith(f"{chapter.number} · ")
        assert len(chapter.promise) > 60 and len(chapter.objectives) >= 3 and chapter.needs and chapter.time, (
            chapter.path
        )
        assert all((ROOT / "figures" / figure.file).exists() and figure.alt for figure in chapter.figures)


def test_the_glossary_is_read_with_the_chapters_that_teach_a_term():
    glossary = read_glossary()
    assert glossary["accuracy"] == "The share of texts that got the right label. → 00"
    assert "accuracy" in find_terms_of(glossary)["00"]
    page = write_glossary(glossary, read_chapters())
    assert page.count("\n## ") == len(glossary) and "→ [00](notebooks/00_start_here.ipynb)" in page


def test_lists_are_drawn_up_from_whatever_notebooks_there_are():
    chapters, glossary = read_chapters(), read_glossary()
    places = Map({chapter.path: f"notebooks/{chapter.path.name}" for chapter in chapters}, {*map(make_slug, glossary)})
    text = add_lists("<!-- book: cards -->\n<!-- book: contents -->", chapters, glossary, places)
    objectives = list_objectives(chapters, places)
    for chapter in chapters:
        assert f"**[{chapter.title}](notebooks/{chapter.path.name})**" in text
        assert f"\nnotebooks/{chapter.path.stem}\n" in text
        assert f"### [{chapter.title}](notebooks/{chapter.path.name})" in objectives
        assert all(figure.alt in draw_gallery(chapters) for figure in chapter.figures)
    assert len(draw_map(chapters, glossary).splitlines()) == 2 + len(glossary)


def test_what_github_shows_in_a_list_s_place_is_left_out():
    text = "a\n<!-- book: ideas -->\nOn GitHub: *this*.\n<!-- /book -->\nb"
    assert add_lists(text, [], {}, Map({})) == "a\n| idea |  |\n|---|\nb"


def test_an_unknown_list_is_an_error():
    with pytest.raises(KeyError, match="nothing"):
        add_lists("<!-- book: nothing -->", [], {}, Map({}))


def test_a_notebook_is_made_ready_and_its_outputs_stay():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    outputs = [json.dumps(cell.get("outputs")) for cell in content["cells"]]
    ready = prepare_notebook(content, NOTEBOOK.resolve(), Map({NOTEBOOK.resolve(): "notebooks/00_start_here.ipynb"}))
    assert [json.dumps(cell.get("outputs")) for cell in ready["cells"]] == outputs
    first, bootstrap = "".join(ready["cells"][0]["source"]), next(c for c in ready["cells"] if c["cell_type"] == "code")
    assert "colab-badge.svg" not in first and 'href="../download/00_start_here.ipynb" download' in first
    assert "hide-input" in bootstrap["metadata"]["tags"]
    described = [c for c in ready["cells"] if c["metadata"].get("alt")]
    assert described and all(c["metadata"]["mystnb"]["image"]["alt"] == c["metadata"]["alt"] for c in described)
    assert not any("### accuracy" in "".join(c["source"]) for c in ready["cells"])


def test_the_settings_need_nothing_from_elsewhere():
    settings = Path(ROOT / "book/conf.py").read_text(encoding="utf-8")
    assert "http://" not in settings and "https://" not in settings
