"""A page to try a classifier: a text, a file of texts, and which words mattered (gradio). Taught in notebook 08, section 3.

gradio is not among the course's libraries: it needs pillow 12, and takes seconds to import.
"""

import importlib.util
import re
import tempfile
from pathlib import Path

import numpy as np

from helpers.exceptions import PlainError, SettingError, shorten

MOST_WORDS = 60  # of a longer text only so many words are left out in turn: each costs a prediction
MOST_CHARACTERS = 20_000
INSTALL = "pip install 'gradio==6.31.0' 'pillow<13'"


def weigh_words(predictor, text: str) -> list[tuple[str, float]]:
    """Return the pieces of `text`, each with what the answer's probability loses, in points of 100, if it is left out.

    The pieces joined are the text. What stands between words weighs 0, and so does all beyond the first `MOST_WORDS`
    words. Of several labels that are true, it is the mean. Notebook 03 asks the gradients instead, which know more.
    """
    pieces = re.findall(r"\s+|\S+", text)
    places = [place for place, piece in enumerate(pieces) if piece.strip()][:MOST_WORDS]
    weights = np.zeros(len(pieces))
    if len(places) > 1:
        answer = predictor.predict_one(text)
        names = answer.labels or [next(iter(answer.probabilities))]
        without = ["".join(pieces[:place] + pieces[place + 1 :]) for place in places]
        columns = [predictor.label_names.index(name) for name in names]
        whole, *rest = predictor.predict_probabilities([text, *without])[:, columns].mean(axis=1)
        weights[places] = 100 * (whole - np.array(rest))
    shown = (weights.round(1) + 0.0).tolist()  # the sum turns a -0.0 into 0.0
    return list(zip(pieces, shown, strict=True))


def answer_text(predictor, text: str | None) -> tuple[dict[str, float], list[tuple[str, float]], str]:
    """Return what the page shows of a text: probabilities, words with their weights, and a note."""
    if not (text or "").strip():
        return {}, [], "Type a sentence first."
    if len(text) > MOST_CHARACTERS:
        return {}, [], f"This text has {len(text):,} characters: give at most {MOST_CHARACTERS:,}."
    text = text.encode(errors="replace").decode()  # half of an emoji, which no tokenizer takes
    found = predictor.predict_one(text)
    note = f"{found.label}, {found.confidence:.0%} sure."
    if found.truncated:
        note += f" Only the first {predictor.max_length} tokens were read."
    return found.probabilities, weigh_words(predictor, text), note


def answer_file(predictor, file: str | None) -> tuple[str | None, str]:
    """Return the path of a table with a prediction per row of the uploaded `file`, and a note."""
    from helpers.deploy.bulk import predict_file

    if not file:
        return None, "Choose a file first: .csv, .tsv, .jsonl, .xlsx, .parquet, or .txt with a text per line."
    target = Path(tempfile.mkdtemp(prefix="course-demo-")) / f"{Path(file).stem}-predicted.csv"
    try:
        report = predict_file(predictor, file, target)
    except PlainError as error:
        return None, str(error)
    return str(target), f"{report.rows:,} texts predicted. {' '.join(report.notes)}".strip()


def require_gradio() -> None:
    """Raise `SettingError` where gradio is missing."""
    if importlib.util.find_spec("gradio") is None:
        raise SettingError(f"The demo page needs gradio, which is not installed: {INSTALL}.")


def build_demo(predictor, name: str = "the model"):
    """Return the page as a `gradio.Blocks`, ready to launch. Raises `SettingError` where gradio is missing."""
    require_gradio()
    import gradio

    kind = "several may be true" if predictor.multilabel else "one is true"
    labels = f"Labels ({kind}): {', '.join(shorten(label, 40) for label in predictor.label_names)}."
    with gradio.Blocks(title=f"Try {name}", analytics_enabled=False) as page:
        gradio.Markdown(f"# Try {name}")
        gradio.Textbox(labels, show_label=False, interactive=False, container=False)
        with gradio.Tab("A text"):
            text = gradio.Textbox(label="Text", lines=3, elem_id="text")
            ask = gradio.Button("Which label?", variant="primary", elem_id="ask")
            note = gradio.Textbox(label="Answer", interactive=False, elem_id="note")
            bars = gradio.Label(label="Probabilities", show_heading=False, elem_id="bars")
            words = gradio.HighlightedText(label="What the answer loses without a word, in points", elem_id="words")
            gradio.on([ask.click, text.submit], lambda given: answer_text(predictor, given), text, [bars, words, note])
        with gradio.Tab("A file"):
            file = gradio.File(label="Texts: .csv, .tsv, .jsonl, .xlsx, .parquet, .txt", elem_id="file")
            start = gradio.Button("Predict all", elem_id="start")
            told = gradio.Textbox(label="What was done", interactive=False, elem_id="told")
            table = gradio.File(label="Predictions", interactive=False, elem_id="table")
            start.click(lambda given: answer_file(predictor, given), file, [table, told])
    return page


def launch_demo(predictor, name: str = "the model", *, port: int | None = None, block: bool = True) -> str:
    """Show the page on this machine alone; return its address, at once if not `block`. Nothing is shared, nothing sent."""
    page = build_demo(predictor, name)
    where = {"server_name": "127.0.0.1", "server_port": port, "share": False, "ssr_mode": False}
    _, address, _ = page.launch(**where, prevent_thread_lock=True, quiet=True, footer_links=[])
    print(f"The page is at {address} (Ctrl-C stops it).", flush=True)
    if block:
        page.block_thread()
    return address
