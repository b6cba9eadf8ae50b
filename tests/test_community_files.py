"""The files that GitHub and others read: they parse, and agree with the course."""

import pytest
import yaml

import helpers
from helpers.assets.install import REPOSITORY
from helpers.files import ROOT

FORMS = [path for path in sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")) if path.name != "config.yml"]


def read(path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version_and_place():
    citation = read(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what the format asks for
    assert citation["version"] == helpers.__version__
    assert citation["repository-code"] == f"https://github.com/{REPOSITORY}"


def test_the_changelog_has_this_version():
    assert f"\n## {helpers.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one_that_github_accepts(path):
    form = read(path)
    assert {"name", "description", "body"} <= form.keys()
    assert len({part["id"] for part in form["body"]}) == len(form["body"])
    for part in form["body"]:
        assert part["type"] in ("input", "textarea", "dropdown") and part["attributes"]["label"]
        assert part["type"] != "dropdown" or part["attributes"]["options"]
    assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_the_workflow_builds_the_book_and_looks_at_it_before_it_publishes():
    steps = read(ROOT / ".github/workflows/book.yml")["jobs"]["publish"]["steps"]
    said = [step.get("run") or step["uses"].split("@")[0] for step in steps]
    wanted = [
        "make book",
        ".venv-book/bin/python -m book.look",
        "actions/upload-pages-artifact",
        "actions/deploy-pages",
    ]
    assert said[-4:] == wanted
