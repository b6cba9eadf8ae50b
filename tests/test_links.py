"""The links of the repository, and the checker on examples whose faults are known."""

import json
import subprocess
import sys
from pathlib import Path

import check_links
import pytest

GOOD = """# A title: with `code`
## Twice
## Twice
<a id="by-hand"></a>

[file](other.md) [anchor](#a-title-with-code) [again](#twice-1) [by hand](#by-hand) [folder](sub/)
[spaces](<a b.md> "title") [escaped](a%20b.md) ![badge](https://example.org/a_(b).svg) <https://example.org>
[line](code.py#L2) [named][there] [notebook](one.ipynb#Step-1-·-Look) [mail](mailto:someone@example.org)

`[not a link](missing.md)` <!-- [nor this](missing.md) -->

```python
# [nor this](missing.md)
```

[there]: other.md#other
"""
BAD = """# Title

[missing](missing.md)
[anchor](#no-such) [elsewhere](other.md#no-such)
[typo](htps://example.org) [no host](https://) [port](https://example.org:x) [out](../../outside.md)
<img src="missing.png"> [empty]() [line](code.py#L9)

[name]: gone.md
"""


def write_example(folder: Path, page: str) -> None:
    """Write a small repository with `page` as its README and as the Markdown cell of a notebook."""
    (folder / "sub").mkdir()
    (folder / "other.md").write_text("# Other\n", encoding="utf-8")
    (folder / "a b.md").write_text("", encoding="utf-8")
    (folder / "code.py").write_text("a = 1\nb = 2\n", encoding="utf-8")
    (folder / "README.md").write_text(page, encoding="utf-8")
    cells = [
        {"cell_type": "code", "source": ["'[not a link](missing.md)'"]},
        {"cell_type": "markdown", "source": ["## Step 1 · Look\n", "[here](#Step-1-·-Look) [up](README.md)"]},
    ]
    (folder / "one.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")


def test_every_link_of_the_repository_leads_somewhere():
    assert check_links.check_links() == []


def test_good_links_pass(tmp_path):
    write_example(tmp_path, GOOD)
    assert check_links.check_links(tmp_path) == []


def test_each_broken_link_is_one_line_with_its_place_and_fault(tmp_path):
    write_example(tmp_path, BAD)
    assert check_links.check_links(tmp_path) == [
        "README.md, line 3: missing.md: no such file",
        "README.md, line 4: #no-such: no such anchor",
        "README.md, line 4: other.md#no-such: no such anchor",
        "README.md, line 5: ../../outside.md: leads out of the repository",
        "README.md, line 5: htps://example.org: unknown scheme 'htps'",
        "README.md, line 5: https://: not a valid address",
        "README.md, line 5: https://example.org:x: not a valid address",
        "README.md, line 6: (): empty link",
        "README.md, line 6: code.py#L9: no such line",
        "README.md, line 6: missing.png: no such file",
        "README.md, line 8: gone.md: no such file",
    ]


def test_broken_links_in_notebooks_name_the_cell(tmp_path):
    write_example(tmp_path, GOOD)
    cells = [{"cell_type": "markdown", "source": "one\n[two](missing.md) [github's form](#step-1)\n# Step 1"}]
    (tmp_path / "two.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert check_links.check_links(tmp_path) == [
        "two.ipynb, cell 1, line 2: #step-1: no such anchor",
        "two.ipynb, cell 1, line 2: missing.md: no such file",
    ]


def test_folders_that_a_clone_lacks_are_skipped(tmp_path):
    for folder in ("runs", ".venv", "data/cache", "env"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "page.md").write_text("[gone](missing.md)", encoding="utf-8")
    (tmp_path / "env" / "pyvenv.cfg").write_text("", encoding="utf-8")
    assert check_links.check_links(tmp_path) == []


@pytest.mark.parametrize(("page", "status"), [(GOOD, 0), (BAD, 1)])
def test_exit_status(tmp_path, page, status):
    write_example(tmp_path, page)
    command = [sys.executable, check_links.__file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (done.returncode, len(done.stdout.splitlines())) == (status, 11 if status else 1), done.stderr
