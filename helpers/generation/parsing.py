"""What a freely written answer says: strict, so that nothing is counted that was not said. Taught in notebook 06, section 4."""

import numpy as np

from helpers.generation.prompts import name_none


def parse_answer(text: str, label_names: list[str], *, multilabel: bool = True):
    """Return what `text` says: a 0/1 row `(labels,)`, or the number of one label; None if it is no valid answer.

    Valid is one line of labels between commas, each at most once, in any order, or "none"; blanks at a label's ends and
    case do not count, nor does a full stop at the end. Anything else is not guessed at: "joyful" is not joy.
    """
    places = {name.strip().casefold(): place for place, name in enumerate(label_names)}
    line = text.strip()
    line = line[:-1] if line.endswith(".") and line.casefold() not in places else line
    words = [word.strip().casefold() for word in line.split(",")]
    if multilabel and words == [name_none(places)]:
        return np.zeros(len(label_names), dtype=np.int64)
    found = [places.get(word) for word in words]
    if None in found or len(set(found)) < len(found):
        return None
    if not multilabel:
        return found[0] if len(found) == 1 else None
    row = np.zeros(len(label_names), dtype=np.int64)
    row[found] = 1
    return row
