"""The minutes of a lesson, what to predict and where people stumble: `make lessons` writes them into teaching/NN.md.

All of it is read from the notebook, from `data/work.json` (what each cell cost on the machine that measured it) and from
`data/exercises.toml`; what a teacher wrote around it in the runbook stays.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from classroom.cells import find_exercises, find_open_ended
from classroom.release import list_notebooks, read_notebook
from helpers.exceptions import SettingError
from helpers.files import DATA, ROOT, atomic_path, read_json, read_toml, write_json

TEACHING = ROOT / "teaching"
BEGIN, END = "<!-- from here on written by `make lessons` -->", "<!-- end of what `make lessons` writes -->"
# A teacher's pace, in minutes but for the first; they are choices, not measurements. Change them to your own.
WORDS_A_MINUTE, CELL, PREDICTION, CHECK, EXERCISE = 150, 1.0, 1.0, 3.0, 8.0
CUT = re.compile(r"<!-- (\d+) minutes: (.+?) -->")
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
PREDICT = re.compile(r"\*Predict first(?::\*|\*:)\s*(.+)")
LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)


@dataclass
class Section:
    """One section of a notebook as a lesson has it; `seconds` are those that its cells compute."""

    title: str
    words: int = 0
    cells: int = 0
    seconds: float = 0.0
    predictions: list[str] = field(default_factory=list)
    checks: int = 0
    exercises: int = 0

    @property
    def number(self) -> str:
        """The number before its title, or the title's first word where it has none."""
        return self.title.split(" ")[0]

    @property
    def minutes(self) -> float:
        """What it takes with a class that reads, predicts, runs, and talks over the check; exercises are apart."""
        talk = (
            self.words / WORDS_A_MINUTE + CELL * self.cells + PREDICTION * len(self.predictions) + CHECK * self.checks
        )
        return talk + self.seconds / 60


def read_sections(content, seconds: dict[str, float]) -> list[Section]:
    """Return a notebook's sections; `seconds` are those of its cells, by their ids."""
    sections = [Section("Beginning")]
    for cell in content.cells:
        if cell.cell_type == "code":
            sections[-1].cells += 1
            sections[-1].seconds += seconds.get(cell.get("id", ""), 0.0)
            sections[-1].exercises += cell.source.count("course.check(")
            continue
        start, *parts = HEADING.split(cell.source)
        _read_text(sections[-1], start)
        for title, text in zip(parts[::2], parts[1::2], strict=True):
            sections.append(Section(title.strip()))
            _read_text(sections[-1], text)
    return [section for section in sections if section.title != "Glossary"]


def _read_text(section: Section, text: str) -> None:
    plain = LINK.sub(r"\1", FOLDED.sub("", text))
    section.words += len(plain.split())
    section.predictions += [_shorten(found) for found in PREDICT.findall(plain)]
    section.checks += "**Check yourself**" in text


def _shorten(text: str) -> str:
    """Return the questions of a paragraph: its sentences up to the last question mark."""
    return text[: text.rfind("?") + 1] or text.split(". ")[0].rstrip(".") + "."


def read_work() -> dict[str, dict]:
    """Return what `helpers measure` stored of each notebook in the laptop profile: its cells' seconds and the machine's
    probe."""
    return {stem: work["laptop"] for stem, work in read_json(DATA / "work.json").items() if "laptop" in work}


def read_seconds(stem: str) -> tuple[dict[str, float], str]:
    """Return what each cell of a notebook costs by its id, and the machine in words; {} if nobody has measured it.

    Notebooks were measured at different times, when the machine was faster or slower: all are reckoned for the fastest
    probe among them, so that minutes of different notebooks may be compared.
    """
    work = read_work()
    if stem not in work:
        return {}, ""
    from helpers.course.timing import scale  # here: it brings PyTorch along

    fastest = min((entry["probe"] for entry in work.values()), key=lambda probe: probe["training"])
    return scale(
        work[stem], fastest
    ), f"{fastest['machine']}, {fastest['training']:.2f} s for the probe's step of training"


def list_elsewhere(stem: str) -> list[str]:
    """Return sentences on how long a notebook computes on other machines, reckoned from what the probe found on each."""
    entry, machines = read_work().get(stem), TEACHING / "machines.json"
    if entry is None or not machines.exists():
        return []
    from helpers.course.timing import scale  # here: it brings PyTorch along

    said = []
    for name, probe in read_json(machines).items():
        seconds = sum(scale(entry, probe).values())
        said.append(f"On {name}, by its probe: {seconds / 60:.1f} minutes of computing.")
    return said


def add_machine(name: str, avx2: bool = False) -> Path:
    """Ask this machine's probe and note it as `name`, for the minutes elsewhere; return the file's path.
    With `avx2`, the probe uses no instruction that a processor of the last ten years may lack, and so computes in fp32."""
    path, limits = TEACHING / "machines.json", {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    code = "import json; from helpers import device; from helpers.course.probe import probe; "
    code += "device.cpu_has_bf16 = lambda: False; " if avx2 else ""
    command = [sys.executable, "-c", f"{code}print(json.dumps(probe()))"]
    done = subprocess.run(
        command, env=os.environ | (limits if avx2 else {}), capture_output=True, text=True, check=True
    )
    known = read_json(path) if path.exists() else {}
    return write_json(path, dict(sorted((known | {name: json.loads(done.stdout.splitlines()[-1])}).items())))


def write_lesson(path: Path) -> str:
    """Return what `make lessons` writes about the notebook `path`, between its two marks."""
    content, (seconds, machine) = read_notebook(path), read_seconds(path.stem)
    sections = read_sections(content, seconds)
    lines = [
        BEGIN,
        "",
        "## Objectives",
        "",
        *_list_objectives(content),
        "",
        "## Minutes",
        "",
        *_list_minutes(sections, machine),
        *list_elsewhere(path.stem),
        "",
        "## What they should predict",
        "",
    ]
    lines += [f"- Section {s.number}: {p}" for s in sections for p in s.predictions]
    lines += ["", "## Where people stumble", "", *_list_stumbles(content), "", END]
    return "\n".join(lines)


def _list_objectives(content) -> list[str]:
    """Return what the notebook promises, from the list after "You will learn"."""
    text = "\n".join(cell.source for cell in content.cells if cell.cell_type == "markdown")
    promised = text.split("You will learn", 1)[-1].split("\n\n", 2)[1:2]
    return [LINK.sub(r"\1", line) for line in "".join(promised).splitlines() if re.match(r"\d+\. ", line)]


def _list_minutes(sections: list[Section], machine: str) -> list[str]:
    lines = [
        "| section | words | cells | predictions | checks | computing | minutes in class |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for s in sections:
        row = (s.title, s.words, s.cells, len(s.predictions), s.checks, f"{s.seconds:.0f} s", f"{s.minutes:.0f}")
        lines.append(f"| {' | '.join(map(str, row))} |")
    total = sum(s.minutes for s in sections)
    computing = f"measured, and reckoned for {machine}" if machine else "not measured yet"
    lines += [
        "",
        f"All of it: {total:.0f} minutes, {sum(s.seconds for s in sections) / 60:.1f} of them computing ({computing}).",
        f"Minutes in class are counted, not measured: {WORDS_A_MINUTE} words a minute, {CELL:.0f} min for a cell and "
        f"what it shows, {PREDICTION:.0f} min for a prediction, {CHECK:.0f} for a check, and the computing. Exercises come on "
        f"top: about {EXERCISE:.0f} each. How long your machine computes is the first line of `make run`.",
    ]
    return lines


def _list_stumbles(content) -> list[str]:
    exercises, lines = read_toml(DATA / "exercises.toml"), []
    for number in sorted(find_exercises(content)):
        own = exercises.get(number, {})
        hints = dict(own["hints"]).items() if isinstance(own.get("hints"), dict) else own.get("hints", [])
        lines.append(f"- **Exercise {number.split('.')[1].lstrip('0')}.** {own.get('start', '')}")
        lines += [f"  - `{_show(answer)}`: {why}" for answer, why in hints]
    return lines + [f"- **Exercise {number}** is open-ended: read it yourself." for number in find_open_ended(content)]


def _show(answer) -> str:
    return f"{answer:.4g}" if isinstance(answer, float) else str(answer)


def add_up_cuts(runbook: str, sections: list[Section]) -> str:
    """Return the runbook with the minutes of each cut behind its comment, which names sections: `<!-- 45 minutes: 1 3 4 -->`.
    Raises `SettingError` if there is no such section, or if they do not fit."""
    known = {section.number.rstrip("."): section for section in sections}

    def add_up(found: re.Match) -> str:
        names = found[2].split()
        if unknown := [name for name in names if name not in known]:
            raise SettingError(f"A cut names section {unknown[0]!r}: use the numbers of the notebook's sections.")
        minutes = sum(known[name].minutes for name in names)
        if minutes > float(found[1]):
            raise SettingError(f"Sections {found[2]} take {minutes:.0f} minutes, which are more than {found[1]}.")
        shown = "; ".join(known[name].title.replace(" · ", " ", 1) for name in names)
        return f"<!-- {found[1]} minutes: {found[2]} -->\n**{found[1]} minutes** ({minutes:.0f} counted): {shown}."

    return re.sub(CUT.pattern + r"(?:\n\*\*\d+ minutes\*\* .*)?", add_up, runbook)


def update_runbook(notebook: Path, folder: Path = TEACHING) -> Path | None:
    """Write the counted parts into the runbook of a notebook anew; return its path, or None if nobody has begun one."""
    path = folder / f"{notebook.stem[:2]}.md"
    if not path.exists():
        return None
    runbook = path.read_text(encoding="utf-8")
    if BEGIN not in runbook or END not in runbook:
        raise SettingError(
            f"{path.name} lacks the marks between which the command writes: copy them from teaching/00.md."
        )
    before, after = runbook.split(BEGIN)[0], runbook.split(END)[1]
    sections = read_sections(read_notebook(notebook), read_seconds(notebook.stem)[0])
    with atomic_path(path) as temporary:
        temporary.write_text(add_up_cuts(before, sections) + write_lesson(notebook) + after, encoding="utf-8")
    return path


def main() -> None:
    """Write the counted parts of all runbooks anew, or of one."""
    parser = argparse.ArgumentParser(prog="make lessons", description=main.__doc__)
    parser.add_argument("number", nargs="?", help="the notebook's number, such as 01")
    parser.add_argument("--machine", help="first ask this machine's probe, and note it under this name")
    parser.add_argument("--avx2", action="store_true", help="with --machine: as a processor with AVX2 alone would do")
    asked = parser.parse_args()
    if asked.machine:
        print(add_machine(asked.machine, asked.avx2))
    for notebook in list_notebooks(asked.number):
        print(update_runbook(notebook) or f"{notebook.stem}: there is no teaching/{notebook.stem[:2]}.md yet")


if __name__ == "__main__":
    main()
