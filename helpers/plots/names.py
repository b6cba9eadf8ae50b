"""Names as people write them, in figures: `$5_` is text and no formula, every letter has a font or else a number with
a key, what has no end is shortened. What is drawn of a plain English name is the name."""

import re
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate

from matplotlib import ft2font
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.textpath import TextPath

WIDTH = 32  # letters that the name of a label, model or run may take
LETTER = 0.6 / 72  # inches that a letter takes for each point of its size
KEY_SIZE, KEY_TITLE = 8, "cannot be drawn here:"
SHAPES_LETTERS = hasattr(ft2font, "__libraqm_version__")  # since 3.11, matplotlib writes from right to left, too


def count_cells(text: str) -> int:
    """Return how wide `text` is, in letters: Chinese, Japanese, Korean and emoji count twice, combining marks nothing."""
    return sum(_cells_of(letter) for letter in text)


def _cells_of(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def make_visible(text: str) -> str:
    """Return `text` on one line, with what no font shows (control characters, a byte order mark) as Python writes it, and
    "␣" for blanks around it. The two joiners that shape letters and emoji stay."""
    text = "".join(c if c.isprintable() or c in "\u200c\u200d" else _escape(c) for c in text)
    return re.sub("^ +| +$", lambda blanks: "␣" * len(blanks[0]), text)


def _escape(letter: str) -> str:
    if unicodedata.category(letter) == "So":  # an emoji's name says more than its number
        return f"<{unicodedata.name(letter).lower()}>"
    return letter.encode("unicode_escape").decode()


def shorten(names: Iterable, width: int = WIDTH) -> list[str]:
    """Return a string for each of `names`, visible and at most `width` letters wide: the middle of a long one is left out.
    Different names stay different to the eye; where they would not, from the second on they end in a number."""
    names, chosen, taken = [str(name) for name in names], {}, set()
    for name in names:
        if name in chosen:
            continue
        whole, number = make_visible(name), 1
        shown = _cut(whole, width)
        while (look := unicodedata.normalize("NFC", shown)) in taken:
            number += 1
            suffix = f" ({number})"
            shown = _cut(whole, width - len(suffix)) + suffix
        taken.add(look)
        chosen[name] = shown
    return [chosen[name] for name in names]


def _cut(text: str, width: int) -> str:
    if count_cells(text) <= width:
        return text
    head = _first(text, width // 2)
    return f"{head}…{_first(text[::-1], width - 1 - width // 2)[::-1]}"


def _first(text: str, width: int) -> str:
    return text[: sum(used <= width for used in accumulate(map(_cells_of, text)))]


def cut_end(text: str, width: int) -> str:
    """Return `text`, a sentence, visible and at most `width` letters wide: where it is longer, "…" stands for the rest."""
    text = make_visible(" ".join(text.split()))
    return text if count_cells(text) <= width else _first(text, width - 1) + "…"


def measure(text: str, size: float = 10.5) -> float:
    """Return how many inches `text`, one line, takes in `size` points; the letters of other alphabets are estimated."""
    known = text.encode("ascii", "ignore").decode().replace("$", "S")  # a path would read a formula, too
    inches = 1.05 / 72 * TextPath((0, 0), known, size=size).get_extents().width if known.strip() else 0  # 1.05: hinting
    return inches + size * LETTER * (count_cells(text) - len(known))


def measure_widest(names: Iterable[str]) -> float:
    """Return how many inches the widest of `names` takes."""
    return max(map(measure, names), default=0)


def wrap(text: str, inches: float, size: float = 10.5) -> str:
    """Return `text` in at most three lines of about `inches` if written in `size` points; a longer one is shortened."""
    text = make_visible(" ".join(text.split()))
    if (needed := measure(text, size)) <= inches:
        return text
    width = max(12, int(0.9 * count_cells(text) * inches / needed))  # 0.9: some lines have wider letters
    filled = "".join(letter + "\0" * (_cells_of(letter) - 1) for letter in _cut(text, 3 * width - 12))
    lines = textwrap.wrap(filled, width)  # counts characters: a letter of two cells gets a filler
    return "\n".join(lines).replace("\0", "")


def extra_inches(names: Iterable[str], free: int = 16) -> float:
    """Return what a figure must grow by so that `names` longer than the `free` letters it has room for do not crush it."""
    return 10.5 * LETTER * max(0, max(map(count_cells, names), default=0) - free)


def count_columns(figure: Figure, names: Sequence[str]) -> int:
    """Return how many of `names` fit beside each other into a legend below or above `figure`."""
    widest = 0.6 + measure_widest(names)  # 0.6: the line or patch before the name
    return min(len(names), max(1, int(figure.get_figwidth() / widest)))


def spell_out(text: str, font: FontProperties) -> str:
    """Return `text`, visible, with the letters that neither `font` nor any other has as escapes."""
    visible = make_visible(text)
    _, missing = _find_letters(visible, font)
    return "".join(_escape(letter) if letter in missing else letter for letter in visible)


def _lacking(letters: Iterable[str], path: str) -> set[str]:
    font = get_font(path)
    return {letter for letter in letters if letter != "\n" and not font.get_char_index(ord(letter))}


def _is_shaped(letter: str) -> bool:
    """Is the letter written from right to left, or put before the one it follows? Then it needs more than its font."""
    return unicodedata.bidirectional(letter) in ("R", "AL") or unicodedata.category(letter) == "Mc"


def _find_letters(text: str, font: FontProperties) -> tuple[list[str], set[str]]:
    """Return which installed fonts have the letters of `text` that `font` lacks, and the letters that cannot be drawn."""
    if text.isascii():
        return [], set()
    hopeless = set() if SHAPES_LETTERS else set(filter(_is_shaped, text))
    lacking = _lacking(set(text) - hopeless, findfont(font))
    families, missing = _find_fonts(frozenset(lacking))
    return list(families), hopeless | missing


@lru_cache
def _find_fonts(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the fewest installed fonts, without serifs first, that have the `letters`, and the letters that none has."""
    offers = {}
    upright = {entry.name for entry in fontManager.ttflist if (entry.weight, entry.style) == (400, "normal")}
    for family in upright if letters else ():
        path = findfont(FontProperties(family=[family]))
        font = get_font(path)
        pictures = not font.scalable or font.face_flags & ft2font.FaceFlags.COLOR  # matplotlib cannot draw these emoji
        if not pictures and not family.startswith("Last Resort"):  # the last resort has a box for every letter
            offers[family] = letters - _lacking(letters, path)
    families = []
    while letters and any(offers.values()):
        best = min(offers, key=lambda name: (-len(offers[name]), "Sans" not in name, name))
        found = offers[best]
        families.append(best)
        letters -= found
        offers = {name: has - found for name, has in offers.items()}
    return tuple(families), letters


def draw_as_written(figure: Figure) -> None:
    """See to it that every text that `figure` has is drawn as text, with whatever fonts have its letters. Letters that
    none has become a number, [1], with a key beside the figure: there as escapes, and printed as they are."""
    key = {}
    for text in figure.findobj(Text):
        if content := text.get_text():  # what is still empty becomes a number of an axis, in matplotlib's own notation
            text.set_parse_math(False)
            families, missing = _find_letters(content, text.get_fontproperties())
            if families:
                text.set(fontfamily=[*text.get_fontfamily(), *families], fontweight="normal")
            if missing:
                text.set_text(_number(content, missing, key))
    if key:
        _keep_tick_labels(figure)
        _write_key(figure, key)


def _number(text: str, missing: set[str], key: dict[str, str]) -> str:
    """Return `text` with a number for each run of `missing` letters, from `key` or else the next one, which is added."""
    letters = "[" + "".join(map(re.escape, missing)) + "]+"
    runs = re.compile(f"{letters}(?:[ \u200d\ufe0f]+{letters})*\ufe0f?")  # U+200D and U+FE0F join emoji
    return runs.sub(lambda run: key.setdefault(run[0], f"[{len(key) + 1}]"), text)


def _keep_tick_labels(figure: Figure) -> None:
    """Tell every axis with named ticks what they are called now: it writes them anew whenever it is drawn."""
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        labels = [tick.label1.get_text() for tick in axis.get_major_ticks()]
        if any(labels):
            axis.set_ticklabels(labels)


def _write_key(figure: Figure, key: dict[str, str]) -> None:
    """Print the `key`, and write it to the right of `figure`, which grows."""
    printed = "In the figure: " + "; ".join(f"{number} {run}" for run, number in key.items())
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(printed.encode(encoding, "backslashreplace").decode(encoding))
    lines = [textwrap.fill(f"{number} {''.join(map(_escape, run))}", 40) for run, number in key.items()]
    crowded = bool(figure.legends)  # another legend may have the upper half, or the line below
    rows = max(3, int(figure.get_figheight() * (0.5 if crowded else 0.9) / (1.7 * KEY_SIZE / 72)) - 1)
    columns = -(-sum(1 + line.count("\n") for line in lines) // rows)
    widest = max(measure(line, KEY_SIZE) for line in "\n".join([KEY_TITLE, *lines]).split("\n"))
    _widen(figure, columns * (widest + 0.15) + 0.1 + crowded)
    look = {"handlelength": 0, "handletextpad": 0, "columnspacing": 1, "alignment": "left", "fontsize": KEY_SIZE}
    place = {"loc": "outside right lower", "borderpad": 4} if crowded else {"loc": "lower right"}
    blank = [Line2D([], [], linestyle="none")] * len(lines)
    figure.legend(blank, lines, ncols=columns, title=KEY_TITLE, title_fontsize=KEY_SIZE, **look, **place)


def _widen(figure: Figure, inches: float) -> None:
    """Make room on the right; without other legends, all the rest keeps its place: a new layout may lose axis labels."""
    if not figure.legends:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    share = figure.get_figwidth() / (figure.get_figwidth() + inches)
    figure.set_figwidth(figure.get_figwidth() + inches)
    for ax in () if figure.legends else figure.axes:
        x, y, width, height = ax.get_position(original=True).bounds
        ax.set_position((share * x, y, share * width, height))
    for text in () if figure.legends else figure.texts:
        text.set_x(share * text.get_position()[0])
