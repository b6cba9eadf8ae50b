"""The entries of the corpus: kinds of files, names, headers, quotation marks, labels, layouts, exports of tools, damage."""

import datetime
import json
from pathlib import Path

import numpy as np
import pandas as pd
from corpus_of_files import (
    ROWS,
    TWO,
    add,
    damage,
    frame,
    hub_parquet,
    jsonl,
    labelled,
    named_labels,
    objects,
    other,
    pack,
    parquet,
    plain,
    questions,
    quoted,
    table,
    workbook,
)  # fmt: skip
from datasets import DatasetDict

SEVERAL = {"anger": 20, "joy": 20, "love": 20}  # of ["joy", "love"], ["anger"] in turn: see PAIRS
PAIRS = [("joy", "love"), ("anger",)]
CELLS = "'label' holds several labels in a cell: several of the 3 may be true of a text."

# Kinds of files, packed or not, in any case ---------------------------------------------------------------------------

KINDS = {
    "csv": table(), "tsv": plain(separator="\t"), "jsonl": jsonl(objects()), "json": json.dumps(objects()),
    "parquet": parquet(),
}  # fmt: skip
for kind, content in KINDS.items():
    add(f"plain.{kind}", content, TWO)
    add(f"packed.{kind}.gz", pack(content), TWO)
    add(f"LOUD.{kind.upper()}", content, TWO)
add("LOUD.CSV.GZ", pack(table()), TWO)
add("book.xlsx", workbook(), TWO, notes=("book.xlsx: the sheet 'Sheet1' is read.",))
add("BOOK.XLSX", workbook(), TWO)
add("packed.xlsx.gz", pack(workbook()), TWO)
add("pretty.json", json.dumps(objects(), indent=2), TWO)
add("lines.json", jsonl(objects()), TWO)
add("array.jsonl", json.dumps(objects()), TWO)
add("wrapped.json", json.dumps({"data": objects()}), TWO)
add("wrapped_pretty.json", json.dumps({"version": 1, "data": objects()}, indent=1), TWO)
add("by_column.json", json.dumps({"text": [t for t, _ in ROWS], "label": [label for _, label in ROWS]}), TWO)
add("by_pandas.json", frame().to_json(), TWO)
add("blank_lines.jsonl", jsonl(objects()).replace("\n", "\n\n"), TWO)
add("bom.jsonl", "\ufeff" + jsonl(objects()), TWO)
add("texts.txt", questions(9, "first"), "texts.txt: a .txt file holds texts without labels", predicted=10)
add("texts.txt.gz", pack("one\r\n\r\ntwo\r\n"), "texts.txt.gz: a .txt file holds texts", predicted=2)
add("report.docx", b"PK", "report.docx: the course reads .csv, .tsv, .jsonl and .parquet files", predicted=None)

# Names of files --------------------------------------------------------------------------------------------------------

for name in ("тексты.csv", "评论.csv", "my own file.csv", "données (2).tsv", "😀.csv", "it's.csv", "a" * 200 + ".csv"):
    add(name, plain(separator="\t") if name.endswith("tsv") else table(), TWO)
add("b" * 240 + ".csv", "text,label\n,joy\n", "row 2: 'text' is empty (1 such row)", predicted="row 2: 'text' is empty")

# Headers ---------------------------------------------------------------------------------------------------------------

for name, head in {
    "blank_before.csv": "text, label", "blank_behind.csv": "text,label ", "blanks.csv": " text , label ",
    "bom.csv": "\ufefftext,label", "bom_quoted.csv": '\ufeff"text","label"', "zero_width.csv": "text\u200b,label",
    "no_break_space.csv": "text,label\u00a0", "capitals.csv": "TEXT,LABEL", "title.csv": "Text,Label",
    "sentence.csv": "sentence,sentiment", "review.csv": "Review,Sentiment", "comment.csv": "comment,emotion",
}.items():  # fmt: skip
    add(name, table(head=head), TWO)
add("blank_in_header_and_rows.csv", table([(t, f" {label}") for t, label in ROWS], head="text, label"), TWO)
add("blank_before_quotes.csv", table([(t, f' "{label}"') for t, label in ROWS], head="text, label"), TWO)
add("named_with_blank.csv", table(head="text, label"), TWO, options={"label_column": " label"})
add(
    "named_in_capitals.csv",
    table(head="Message,Mood"),
    TWO,
    options={"text_column": "message", "label_column": "mood"},
    predicted=40,
)
add("index.csv", frame().to_csv(), TWO)
add("two_unnamed.csv", table([(t, label, "", "") for t, label in ROWS], head="text,label,,"), TWO)
add("blank_line_first.csv", "\n" + table(), TWO)
add(
    "comma_in_a_name.csv",
    "text;label (a, b)\n" + "".join(f"{t};{label}\n" for t, label in ROWS),
    TWO,
    options={"label_column": "label (a, b)"},
    notes=("comma_in_a_name.csv is separated by semicolons.",),
)
add(
    "comma_in_a_quoted_name.csv",
    '"text, raw";label\n' + "".join(f"{t}, and more;{label}\n" for t, label in ROWS),
    TWO,
    options={"text_column": "text, raw"},
    notes=("comma_in_a_quoted_name.csv is separated by semicolons.",),
)
add(
    "semicolon_in_a_name.csv",
    "text,label;b\n" + "".join(f"{t}; and more,{label}\n" for t, label in ROWS),
    TWO,
    options={"label_column": "label;b"},
)
for name, content, problem in (
    ("really_packed.csv", pack(table()), "is packed by gzip: add .gz to its name."),
    ("really_a_book.csv", workbook(), "is a zip archive, or a workbook: unpack it, or call it .xlsx."),
    ("really_parquet.csv", parquet(), "is a parquet file: call it .parquet."),
    ("really_wide.csv", table().encode("utf-16-le"), "is UTF-16, as Excel's Unicode text: save it again with"),
    (
        "pointer.csv",
        "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n",
        "is what Git LFS left in place",
    ),
    ("pointer.parquet", "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "is what Git LFS left"),
):
    add(name, content, f"{name} {problem}")
add("sep_line.csv", "sep=;\r\n" + plain(separator=";"), TWO, notes=("sep_line.csv is separated by semicolons.",))
add(
    "two_texts.csv",
    table([(t, label, "z") for t, label in ROWS], head="text,label,text"),
    TWO,
    notes=("two_texts.csv has several columns 'text': the first is the one of this name.",),
)
add(
    "two_labels.csv",
    table([(t, label, i) for i, (t, label) in enumerate(ROWS)], head="text,label,label"),
    "two_labels.csv has two columns 'label' that differ: rename one of them.",
    predicted=40,
)
add("same_labels_twice.csv", table([(t, label, label) for t, label in ROWS], head="text,label,label"), TWO)
add(
    "no_header.csv",
    table().split("\n", 1)[1],
    "no_header.csv has no header line (its first is 'text number 0 about things, joy')",
)
add(
    "no_header_named.csv",
    table().split("\n", 1)[1],
    "no_header_named.csv has no header line",
    options={"text_column": "text", "label_column": "label"},
    predicted="has no header line",
)
add(
    "goemotions.tsv",
    "".join(f"{t}\t{i % 3},{i % 3 + 9}\tid{i}\n" for i, (t, _) in enumerate(ROWS)),
    "goemotions.tsv has no header line",
)
add("isear.csv", "".join(f'{label},"{t}",\n' for t, label in ROWS), "isear.csv has no header line")
add(
    "no_text.csv",
    table(head="words,label"),
    "no_text.csv has no column 'text' (it has words, label): set text_column=….",
)
add(
    "many_columns.csv",
    ",".join(f"column number {i}" for i in range(200)) + "\n" + "1," * 199 + "1\n",
    "many_columns.csv has no column 'text' (it has column number 0, ",
)

# Quotation marks -------------------------------------------------------------------------------------------------------

RAW = ": its quotation marks enclose no cells and are read as part of the texts."


def stray(rows: dict[int, str], order=(0, 1), separator=",", head=None) -> str:
    """The forty rows without quotes; the texts of some rows changed."""
    cells = [(rows.get(i, text), label, f"k{i}") for i, (text, label) in enumerate(ROWS)]
    names = ("text", "label", "id")
    head = separator.join(names[i] for i in order)
    return "\n".join([head, *(separator.join(row[i] for i in order) for row in cells)]) + "\n"


OPEN = {10: '"text number 10 about things', 30: '"text number 30 about things'}
for name, order in {"text_label": (0, 1), "label_text": (1, 0), "with_id": (1, 0, 2), "id_first": (2, 0, 1)}.items():
    for kind, separator in {"csv": ",", "tsv": "\t"}.items():
        add(f"open_twice_{name}.{kind}", stray(OPEN, order, separator), TWO, notes=(f"open_twice_{name}.{kind}{RAW}",))
add("open_once.csv", stray({12: '"text number 12'}, (1, 0)), TWO, notes=(f"open_once.csv{RAW}",))
add("open_in_the_last_row.csv", stray({39: '"text number 39'}, (1, 0)), TWO)
add("open_in_the_first_row.tsv", stray({0: '"text number 0'}, (1, 0), "\t"), TWO)
add(
    "closed_by_chance.csv",
    stray({10: '"text number 10', 14: 'text number 14"'}, (1, 0)),
    TWO,
    notes=(f"closed_by_chance.csv{RAW}",),
)
add("closed_by_chance.tsv", stray({10: '"text number 10', 14: 'text number 14"'}, (1, 0, 2), "\t"), TWO)
add("quote_inside.csv", stray({i: f'text "number" {i}' for i in range(0, 40, 3)}), TWO)
add("inches.csv", stray({5: 'a 5" pipe number 5'}), TWO)
add("doubled.csv", table([(t.replace("number", '""number""'), label) for t, label in ROWS]), TWO)
add(
    "backslashes.csv",
    table([(t.replace("number", '\\"number\\", then'), label) for t, label in ROWS]),
    TWO,
    notes=('backslashes.csv: \\" is read as a quotation mark inside a text.',),
)
add("commas_quoted.csv", table([(t + ", and more, of it", label) for t, label in ROWS]), TWO)
add("line_breaks.csv", table([(f"dear {i},\nwell, hello\n\nbye", label) for i, (_, label) in enumerate(ROWS)]), TWO)
add(
    "line_breaks_label_first.csv",
    "label,text\n" + "".join(f'{label},"hello {i}\nwell, ok"\n' for i, (_, label) in enumerate(ROWS)),
    TWO,
)
add(
    "lines_like_numbered_rows.csv",
    "id,text,label\n" + "".join(f'{i},"hello {i}\n3, maybe\nbye",{label}\n' for i, (_, label) in enumerate(ROWS)),
    TWO,
)
add(
    "open_among_quoted.csv",
    table().replace('number 20 about things"', "number 20 about things"),
    "open_among_quoted.csv, row 22: a quotation mark is not closed, so that the next rows became part of this cell",
)
add(
    "open_at_the_end.csv",
    table().replace('number 39 about things"', "number 39 about things"),
    "open_at_the_end.csv, row 41: a quotation mark is not closed",
)
add(
    "stray_inside_quoted.csv",
    table().replace("number 20", 'number "20"'),
    "stray_inside_quoted.csv, row 22: a quotation mark stands inside a text in quotation marks: write it twice.",
)
add("single_quotes.csv", plain([(f"'{t}'", label) for t, label in ROWS]), TWO)
add("curly_quotes.csv", plain([(f"“{t}”", label) for t, label in ROWS]), TWO)
add(
    "one_column.csv",
    "text\n" + "".join(f'"{t}, yes"\n' for t, _ in ROWS),
    "one_column.csv has no column 'label' (it has text)",
    predicted=40,
)
add(
    "one_column_open.csv",
    "text\n" + "".join(f"{t}\n" for t, _ in ROWS[:20]) + '"open\n' + "last\n",
    "has no column 'label'",
    predicted=22,
)

# Separators, surplus and missing cells --------------------------------------------------------------------------------

for name, separator, says in (
    ("semicolons.csv", ";", "semicolons"), ("tabs.csv", "\t", "tabs"), ("bars.csv", "|", "vertical bars"),
    ("commas.tsv", ",", "commas"),
):  # fmt: skip
    add(name, plain(separator=separator), TWO, notes=(f"{name} is separated by {says}.",))
add("semicolons_in_texts.csv", table([(t + "; and, more", label) for t, label in ROWS], separator=";"), TWO)
add("semicolon_in_header_name.csv", table(head="text;en,label"), TWO, options={"text_column": "text;en"})
SURPLUS = "40 rows end in an empty cell more than the header: it is left out."
add(
    "comma_at_the_end.csv",
    table([(t, label, "") for t, label in ROWS]),
    TWO,
    notes=(f"comma_at_the_end.csv: {SURPLUS}",),
)
add(
    "comma_at_some_ends.csv", table([(t, label, "") if i % 2 else (t, label) for i, (t, label) in enumerate(ROWS)]), TWO
)
add(
    "commas_not_quoted.csv",
    plain([(t, label) for t, label in ROWS] + [("oh, so mad", "anger")]),
    "commas_not_quoted.csv, line 42: rows have more cells than the header (3, not 2): put texts with commas in quotes.",
)
add(
    "all_commas_not_quoted.csv",
    plain([("oh, " + t, label) for t, label in ROWS]),
    "line 2: rows have more cells than the header",
)
add(
    "cell_missing.csv",
    table() + "so sad\n",
    "cell_missing.csv, row 42: 'label' is empty (1 such row): fill or delete them.",
    predicted=41,
)
add("blank_lines.csv", table().replace("\n", "\n\n"), TWO)
add("excel_tail.csv", table() + ",\n" * 50, TWO)
add(
    "blank_text.csv",
    table([*ROWS[:5], ("  ", "joy"), *ROWS[5:]]),
    "blank_text.csv, row 7: 'text' is empty (1 such row)",
    predicted="row 7: 'text' is empty",
)
for name, end in {"crlf.csv": "\r\n", "old_mac.csv": "\r"}.items():
    add(name, table(end=end), TWO)
add("no_end.csv", table().rstrip("\n"), TWO)
add("mixed_ends.csv", table(ROWS[:20], end="\r\n") + table(ROWS[20:]).split("\n", 1)[1], TWO)

# Several labels in one cell --------------------------------------------------------------------------------------------

LISTS = {
    "python": [str(list(pair)) for pair in PAIRS], "json": [json.dumps(pair) for pair in PAIRS],
    "numpy": [str(np.array(pair)) for pair in PAIRS], "sets": ["{'joy', 'love'}", "{'anger'}"], "tuples": [str(pair) for pair in PAIRS],
    "bare": ["[joy, love]", "[anger]"], "choices": [json.dumps({"choices": pair}) for pair in PAIRS],
    "some_choices": ['{"choices":["joy","love"]}', "anger"], "bars": ["joy|love", "anger"], "blanks_and_bars": ["joy | love", "anger"],
    "semicolons": ["joy;love", "anger"], "forms": ["joy;love;", "anger;"], "some_forms": ["joy; love ; ", "anger"],
    "bars_before": ["|joy|love", "|anger"], "two_bars": ["joy||love", "anger"],
}  # fmt: skip
for name, cells in LISTS.items():
    add(f"labels_{name}.csv", quoted(cells), SEVERAL, notes=(CELLS,), predicted=40)
add("labels_commas.csv", quoted(["joy, love", "joy", "love", "anger"]), {"anger": 10, "joy": 20, "love": 20})
for name, mark in {
    "slash": "/", "ampersand": " & ", "plus": " + ", "line": "\n", "wide_comma": "，", "listing_comma": "、",
    "wide_semicolon": "；",
}.items():  # fmt: skip
    several, whole = [f"joy{mark}love", "joy", "love", "anger"], [f"joy{mark}love", "anger"]
    add(f"labels_{name}.csv", quoted(several), {"anger": 10, "joy": 20, "love": 20}, notes=(CELLS,))
    note = f"Labels such as {' '.join(whole[0].split())!r} are taken whole: if they are several labels, part them by ;."
    add(f"labels_{name}_whole.csv", quoted(whole), {"anger": 20, whole[0]: 20}, notes=(note,))
add(
    "labels_comma_at_the_end.csv",
    quoted(["joy, love, ", "joy, ", "love, ", "anger, "]),
    {"anger": 10, "joy": 20, "love": 20},
)
add("labels_hashes_before.csv", quoted(["#joy#love", "#joy", "#love", "#anger"]), {"anger": 10, "joy": 20, "love": 20})
add("labels_one_hash_each.csv", quoted(["#joy", "#anger"]), {"#joy": 20, "#anger": 20})
add("labels_form_of_one.csv", quoted(["joy;", "anger"]), TWO)
add(
    "labels_nothing_between.csv",
    quoted(["joy; ;love", "anger"]),
    "labels_nothing_between.csv, row 2: 'label' is 'joy; ;love', with a label that is empty: fill or delete it.",
    predicted=40,
)
add("labels_hashes.csv", quoted(["joy#love", "joy", "love", "anger"]), {"anger": 10, "joy": 20, "love": 20})
add(
    "labels_numbers.tsv",
    labelled(["3,15", "27"], "text\tlabel".replace("\t", ","), "\t"),
    {"3": 20, "15": 20, "27": 20},
)
add("labels_number_list.csv", quoted(["[3, 15]", "[27]"]), {"3": 20, "15": 20, "27": 20})
add("labels_number_array.csv", quoted(["[ 3 15]", "[27]"]), {"3": 20, "15": 20, "27": 20})
add("labels_numbers_and_blanks.csv", quoted(["3 15", "27"]), {"3": 20, "15": 20, "27": 20})
add(
    "labels_empty_list.csv",
    quoted(["['joy', 'love']", "['anger']", "[]", "['joy']"]),
    {"anger": 10, "joy": 20, "love": 10},
)
add(
    "labels_one_each.csv",
    quoted(["['joy']", "['anger']"]),
    TWO,
    notes=("Each cell of 'label' is a list of one label: one label per text.",),
)
add(
    "labels_list.jsonl",
    jsonl([{"text": t, "label": PAIRS[i % 2]} for i, (t, _) in enumerate(ROWS)]),
    SEVERAL,
    notes=(CELLS,),
)
add("labels_list.parquet", parquet(frame(label=[PAIRS[i % 2] for i in range(40)])), SEVERAL)
add("labels_number_list.parquet", parquet(frame(label=None, labels=[[0, 3], [1]] * 20)), {"0": 20, "1": 20, "3": 20})
add(
    "labels_with_comma.csv",
    quoted(["calm, at last", "anger"]),
    {"anger": 20, "calm, at last": 20},
    notes=("Labels such as 'calm, at last' are taken whole, commas included.",),
)
add("labels_smileys.csv", quoted([":|", ";)"]), {":|": 20, ";)": 20})
add("labels_in_brackets.csv", quoted(["(joy)", "(anger)"]), {"(anger)": 20, "(joy)": 20})
add(
    "labels_vector.csv",
    quoted(["[0, 0, 1]", "[0, 1, 0]"]),
    "labels_vector.csv, row 2: 'label' is '[0, 0, 1]', a label twice",
    predicted=40,
)
for name, cells in {"vector_of_two": ["[0, 1]", "[1, 0]"], "vector_of_blanks": ["0 1", "1 0"]}.items():
    add(
        f"labels_{name}.csv",
        quoted(cells),
        f"labels_{name}.csv: 'label' cannot be learnt, as every row has the labels 0, 1: "
        "if it is a row of 0 and 1, give every label a column.",
        predicted=40,
    )
add(
    "labels_vector.parquet",
    parquet(frame(label=[[float(i % 2), float(i % 2 == 0)] for i in range(40)])),
    "labels_vector.parquet: 'label' cannot be learnt, as every row has the labels 0, 1: if it is",
    predicted=40,
)
add(
    "labels_with_one_in_all.csv",
    quoted(["joy;love", "joy;anger"]),
    {"anger": 20, "joy": 40, "love": 20},
    notes=(CELLS, "Warning: 'joy' is 1 in all rows of train: nothing can be learnt of it."),
)
for name, part in {"null": None, "nan": float("nan"), "blank": " "}.items():
    add(
        f"labels_{name}_in_a_list.jsonl",
        jsonl([{"text": t, "label": ["joy", part] if i else ["joy"]} for i, (t, _) in enumerate(ROWS)]),
        f"labels_{name}_in_a_list.jsonl, row 2: 'label' is {['joy', part]!r}, with a label that is empty: fill or",
        predicted=40,
    )
for name, cell in {"null": None, "nan": float("nan")}.items():
    add(
        f"labels_{name}_among_several.jsonl",
        jsonl([{"text": t, "label": "joy;love" if i else cell} for i, (t, _) in enumerate(ROWS)]),
        f"labels_{name}_among_several.jsonl, row 1: 'label' is empty: fill or delete it.",
        predicted=40,
    )
add(
    "labels_numbers_with_a_point.jsonl",
    jsonl([{"text": t, "label": ["0,1", 1.0, "2"][i % 3]} for i, (t, _) in enumerate(ROWS[:39])]),
    {"0": 13, "1": 26, "2": 13},
)
add(
    "labels_spans.jsonl",
    jsonl([{"text": t, "label": [[0, 4, "X"]]} for t, _ in ROWS]),
    "labels_spans.jsonl, row 1: 'label' is",
    predicted=40,
)
add(
    "labels_object.jsonl",
    jsonl([{"text": t, "label": {"a": 1}} for t, _ in ROWS]),
    "labels_object.jsonl, row 1: 'label' is",
    predicted=40,
)
add(
    "labels_missing.jsonl",
    jsonl([*({"text": t, "label": ["joy", "love"]} for t, _ in ROWS), {"text": "no label", "label": None}]),
    "labels_missing.jsonl, row 41: 'label' is empty: fill or delete it.",
    predicted=41,
)

# Columns of 0 and 1 ----------------------------------------------------------------------------------------------------


def flags(values: dict[str, list], head="text") -> str:
    rows = [(t, *(cells[i % len(cells)] for cells in values.values())) for i, (t, _) in enumerate(ROWS)]
    return table(rows, ",".join([head, *values]))


ONE_HOT = {"anger": 20, "joy": 20}
TAKEN = "Taken for labels, as all columns but the text hold 0 or 1: joy, anger; label_column=… chooses others."
for name, (no, yes) in {
    "01": (0, 1),
    "floats": (0.0, 1.0),
    "booleans": (False, True),
    "capitals": ("FALSE", "TRUE"),
    "words": ("no", "yes"),
}.items():
    add(f"flags_{name}.csv", flags({"joy": [yes, no], "anger": [no, yes]}), ONE_HOT, notes=(TAKEN,))
add(
    "flags_named.csv",
    flags({"joy": [True, False], "anger": [False, True]}),
    ONE_HOT,
    options={"label_column": "joy,anger"},
)
add("flags.parquet", parquet(frame(label=None, joy=[True, False] * 20, anger=[False, True] * 20)), ONE_HOT)
add("flags_floats.parquet", parquet(frame(label=None, joy=[1.0, 0.0] * 20, anger=[0.0, 1.0] * 20)), ONE_HOT)
add(
    "flags.jsonl",
    jsonl([{"text": t, "joy": i % 2 == 0, "anger": i % 2 == 1} for i, (t, _) in enumerate(ROWS)]),
    ONE_HOT,
)
add(
    "flags_retweet.csv",
    flags({"target": [0, 1], "is_retweet": [0, 0, 1]}),
    {"is_retweet": 13, "target": 20},
    notes=(
        "Taken for labels, as all columns but the text hold 0 or 1: target, is_retweet; label_column=… chooses others.",
    ),
)
add(
    "flags_constant.csv",
    flags({"joy": [0, 1], "anger": [1, 0], "verified": [0]}),
    "flags_constant.csv has no column 'label' (it has text, joy, anger, verified): name the labels, e.g. label_column=joy,anger.",
    predicted=40,
)
add(
    "flags_and_count.csv",
    flags({"joy": [0, 1], "anger": [1, 0], "likes": [3, 5]}),
    "name the labels, e.g. label_column=joy,anger.",
    predicted=40,
)
add(
    "flags_and_count_named.csv",
    flags({"joy": [0, 1], "anger": [1, 0], "likes": [3, 5]}),
    ONE_HOT,
    options={"label_column": "joy,anger"},
)
add(
    "flags_constant_named.csv",
    flags({"joy": [0, 1], "anger": [0]}),
    {"joy": 20},
    options={"label_column": "joy,anger"},
    notes=("Warning: 'anger' is 0 in all rows of train: nothing can be learnt of it.",),
)
add(
    "flags_wrong.csv",
    flags({"joy": [0, 1], "anger": [1, 2]}),
    "flags_wrong.csv, row 3: 'anger' is '2', but must be 0 or 1.",
    options={"label_column": "joy,anger"},
    predicted=40,
)
add(
    "flag_alone.csv",
    flags({"target": [0, 1]}),
    "flag_alone.csv has no column 'label' (it has text, target): name the labels, e.g. label_column=target.",
    predicted=40,
)
add("flag_alone_named.csv", flags({"target": [0, 1]}), {"0": 20, "1": 20}, options={"label_column": "target"})

# Columns beside the labels ---------------------------------------------------------------------------------------------

for name, (extra, cells) in {
    "numbers": ("labels", [1, 0, 5]),
    "words": ("labels", ["x", "y"]),
    "vectors": ("labels", ["[0 1]"]),
}.items():
    content = table([(t, label, cells[i % len(cells)]) for i, (t, label) in enumerate(ROWS)], f"text,label,{extra}")
    add(f"label_and_{name}.csv", content, TWO, options={"label_column": "label"})
add(
    "label_and_labels.csv",
    table([(t, label, i % 4) for i, (t, label) in enumerate(ROWS)], "text,label,labels"),
    TWO,
    notes=("The labels are those of 'label', not of 'labels': label_column=… chooses.",),
)
add(
    "labels_chosen.csv",
    table([(t, label, i % 4) for i, (t, label) in enumerate(ROWS)], "text,label,labels"),
    {"0": 10, "1": 10, "2": 10, "3": 10},
    options={"label_column": "labels"},
)
add(
    "emotion_and_label.csv",
    table([(t, "x" if i % 2 else "y", label) for i, (t, label) in enumerate(ROWS)], "text,label,emotion"),
    TWO,
    options={"label_column": "emotion"},
)
add(
    "text_is_label.csv",
    table(),
    "text_is_label.csv: 'text' is text and label at once",
    options={"label_column": "text"},
    predicted=40,
)
add(
    "label_text.csv",
    table([(t, i % 2, label) for i, (t, label) in enumerate(ROWS)], "text,label,label_text"),
    {"0": 20, "1": 20},
)
add(
    "persons.csv",
    "ID,text,label\n" + "".join(f"{1000 + i // 7},{t},{label}\n" for i, (t, label) in enumerate(ROWS)),
    TWO,
)
add(
    "column_not_there.csv",
    table(),
    "column_not_there.csv has no column 'mood': it has text, label.",
    options={"label_column": "mood"},
    predicted=40,
)
for name, columns, problem in (
    ("twice", "joy,joy", "label_column names 'joy' twice: name each once."),
    ("twice_in_another_case", "joy,JOY", "label_column names 'joy' twice: name each once."),
    ("with_a_comma", "joy,", "label_column='joy,' has a comma without a name beside it: delete the comma."),
):
    rows = [(t, i % 2, (i + 1) % 2) for i, (t, _) in enumerate(ROWS)]
    options = {"label_column": columns}
    add(f"named_{name}.csv", table(rows, head="text,joy,anger"), problem, options=options, predicted=40)
add(
    "named_by_accents.csv",
    table(head="text,\u00e9motion"),
    TWO,
    options={"label_column": "e\u0301motion"},
    predicted=40,
)
add(
    "named_text_is_the_label.csv",
    table(),
    "named_text_is_the_label.csv: 'label' is named as the text: name the labels too, label_column=….",
    options={"text_column": "label"},
    predicted=40,
)
add(
    "swapped.csv",
    "text,label\n" + "".join(f"{label},{t + ' and so on' * 4}\n" for t, label in ROWS),
    "swapped.csv: 'label' has 40 different labels in 40 rows: if texts and labels are swapped, name text_column and label_column.",
    predicted=40,
)

# What labels look like -------------------------------------------------------------------------------------------------

NEAR = "Warning: labels that differ only in case, blanks or invisible characters: "
add(
    "label_case.csv",
    labelled(["joy", "anger", "Joy", "anger"]),
    {"Joy": 10, "anger": 20, "joy": 10},
    notes=(f"{NEAR}'Joy' and 'joy'.",),
)
add(
    "label_inner_blank.csv",
    labelled(["so sad", "anger", "sosad", "anger"]),
    {"anger": 20, "so sad": 10, "sosad": 10},
    notes=(f"{NEAR}'so sad' and 'sosad'.",),
)
add(
    "label_zero_width.csv",
    labelled(["joy", "anger", "joy\u200b", "anger"]),
    {"anger": 20, "joy": 10, "joy\u200b": 10},
    notes=(f"{NEAR}'joy' and 'joy\\u200b'.",),
)
add(
    "label_accents.csv",
    labelled(["caf\u00e9", "anger", "cafe\u0301", "anger"]),
    {"anger": 20, "caf\u00e9": 10, "cafe\u0301": 10},
    notes=(f"{NEAR}'cafe\\u0301' and 'caf\\xe9'.",),
)
add("label_outer_blanks.csv", labelled(["joy ", "anger", "joy\u00a0", "anger"]), TWO)
add("label_floats.csv", labelled(["0.0", "1.0"]), {"0": 20, "1": 20})
add("label_negative.csv", labelled(["-1", "0", "1", "-1"]), {"-1": 20, "0": 10, "1": 10})
add("label_booleans.csv", labelled(["True", "False"]), {"False": 20, "True": 20})
add(
    "label_words_for_nothing.csv",
    labelled(["NA", "None", "nan", "null"]),
    {"NA": 10, "None": 10, "nan": 10, "null": 10},
)
add(
    "label_markup.csv", quoted(["$5_a^b", "<b>", "很开心", "سعيد"]), {"$5_a^b": 10, "<b>": 10, "很开心": 10, "سعيد": 10}
)
add("label_long.csv", labelled(["l" * 80, "m" * 80]), {"l" * 80: 20, "m" * 80: 20})
add(
    "label_only_one.csv",
    labelled(["joy"]),
    "label_only_one.csv: 'label' has only the label 'joy'; a classifier needs two.",
    predicted=40,
)
add(
    "label_once.csv",
    table([*ROWS, ("one more", "disgust")]),
    "label_once.csv, row 42: the label 'disgust' occurs only here: add examples, or merge or delete it.",
    predicted=41,
)
add(
    "label_once_near.csv",
    table([*ROWS, ("one more", "JOY")]),
    "row 42: the label 'JOY' occurs only here (near: 'joy')",
    predicted=41,
)
add("label_of_300.csv", table([*ROWS, ("one more", "x" * 3000)]), "row 42: the label 'xxxx", predicted=41)

# Arrow's types ---------------------------------------------------------------------------------------------------------

SHUFFLED = frame().sample(frac=1, random_state=0)
add("shuffled_index.parquet", parquet(SHUFFLED), TWO)
add("index_of_words.parquet", parquet(frame().set_index(pd.Index([f"t{i}" for i in range(40)], name="tweet"))), TWO)
add("text_is_index.parquet", parquet(frame().set_index("text")), TWO)
add(
    "empty_text.parquet",
    parquet(frame(text=["" if i == 33 else t for i, (t, _) in enumerate(ROWS)]).set_index(pd.Index(list("abcd") * 10))),
    "empty_text.parquet, row 34: 'text' is empty (",
)
add(
    "numbers_with_gap.parquet",
    parquet(frame(label=[None, *[float(i % 2) for i in range(39)]])),
    "numbers_with_gap.parquet, row 1: 'label' is empty (1 such row)",
    predicted=40,
)
add("numbers.parquet", parquet(frame(label=[float(i % 2) for i in range(40)])), {"0": 20, "1": 20})
add("categories.parquet", parquet(frame().astype({"label": "category"})), TWO)
add("dates.parquet", parquet(frame(when=[datetime.datetime(2024, 1, 1)] * 40)), TWO)
add("names_of_the_hub.parquet", hub_parquet(), TWO)
add(
    "some_hidden.parquet",
    hub_parquet([*ROWS, ("one more", None)]),
    "some_hidden.parquet, row 41: 'label' is empty (1 such row): fill or delete them.",
    predicted=41,
)
add(
    "bytes.parquet",
    parquet(frame(text=[t.encode() for t, _ in ROWS])),
    "bytes.parquet, row 1: 'text' is b'text number 0 about things', but must be one text or number.",
)

# Workbooks -------------------------------------------------------------------------------------------------------------

HEAD = ["text", "label"]
add("numbers.xlsx", workbook({"S": [HEAD, *([t, float(i % 2)] for i, (t, _) in enumerate(ROWS))]}), {"0": 20, "1": 20})
add(
    "booleans.xlsx",
    workbook({"S": [["text", "joy", "anger"], *([t, i % 2 == 0, i % 2 == 1] for i, (t, _) in enumerate(ROWS))]}),
    ONE_HOT,
)
add("gaps.xlsx", workbook({"S": [[], HEAD, *ROWS[:20], [], *ROWS[20:]]}), TWO)
add(
    "empty_sheet_beside.xlsx",
    workbook({"notes": [], "data": [HEAD, *ROWS]}),
    TWO,
    notes=("empty_sheet_beside.xlsx: the sheet 'data' is read.",),
)
add(
    "two_sheets.xlsx",
    workbook({"a": [HEAD, *ROWS], "b": [HEAD, *ROWS]}),
    "two_sheets.xlsx has 2 sheets with rows (a, b): keep one sheet, or save the one you mean as .csv.",
)
add("no_rows.xlsx", workbook({"a": []}), "no_rows.xlsx has no rows")
for name, rows in {"above": [[], [], HEAD, *ROWS], "between": [HEAD, [], [], *ROWS]}.items():
    add(
        f"blank_rows_{name}.xlsx",
        workbook({"S": [*rows, [None, "joy"]]}),
        f"blank_rows_{name}.xlsx, row 44: 'text' is empty",
    )
for part in ("xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/styles.xml"):
    name = f"cut_{Path(part).stem}.xlsx"
    add(name, damage(workbook(), part), f"{name} could not be read (")
add("broken.xlsx", b"PK\x03\x04" + bytes(500), "broken.xlsx could not be read")
add("empty_text.xlsx", workbook({"S": [HEAD, *ROWS, [None, "joy"]]}), "empty_text.xlsx, row 42: 'text' is empty")

# Exports of annotation tools -------------------------------------------------------------------------------------------


def task(number: int, text: str, *answers: list[str], **more) -> dict:
    results = [[{"from_name": "emotion", "type": "choices", "value": {"choices": answer}}] for answer in answers]
    return {"id": number, "data": {"text": text}, "annotations": [{"result": result} for result in results], **more}


add("label_studio.json", json.dumps([task(i, t, [label]) for i, (t, label) in enumerate(ROWS)]), TWO)
add("label_studio_several.json", json.dumps([task(i, t, list(PAIRS[i % 2])) for i, (t, _) in enumerate(ROWS)]), SEVERAL)
add("label_studio_agreed.json", json.dumps([task(i, t, [label], [label]) for i, (t, label) in enumerate(ROWS)]), TWO)
add(
    "label_studio_differing.json",
    json.dumps([task(i, t, ["joy"], ["anger"]) for i, (t, _) in enumerate(ROWS)]),
    "label_studio_differing.json, row 1: its annotations differ: keep one of each text.",
)
add(
    "label_studio_undone.json",
    json.dumps([*(task(i, t, [label]) for i, (t, label) in enumerate(ROWS)), task(40, "open")]),
    "label_studio_undone.json, row 41: 'emotion' is empty: fill or delete it.",
    predicted=41,
)
add(
    "label_studio_min.json",
    json.dumps(
        [{"id": i, "text": t, "emotion": label, "annotator": 1, "lead_time": 2.5} for i, (t, label) in enumerate(ROWS)]
    ),
    TWO,
)
add(
    "label_studio_min_several.json",
    json.dumps(
        [
            {"id": i, "text": t, "emotion": "anger" if i % 2 else {"choices": ["joy", "love"]}}
            for i, (t, _) in enumerate(ROWS)
        ]
    ),
    SEVERAL,
)
add(
    "doccano.jsonl",
    jsonl([{"id": i, "text": t, "label": [label], "Comments": []} for i, (t, label) in enumerate(ROWS)]),
    TWO,
)
add(
    "doccano_several.jsonl",
    jsonl([{"id": i, "text": t, "label": PAIRS[i % 2], "Comments": []} for i, (t, _) in enumerate(ROWS)]),
    SEVERAL,
)
add(
    "doccano.csv",
    "id,text,label\n"
    + "".join(f"{i},{t},{['joy#love', 'joy', 'love', 'anger'][i % 4]}\n" for i, (t, _) in enumerate(ROWS)),
    {"anger": 10, "joy": 20, "love": 20},
)
ANSWERS = ["accept", "accept", "reject", "ignore"]


def prodigy(kind: str, answers=ANSWERS) -> str:
    options = [{"id": "joy", "text": "joy"}, {"id": "anger", "text": "anger"}]
    chosen = [{"accept": [label], "options": options} if kind == "choice" else {"label": label} for _, label in ROWS]
    return jsonl(
        [
            {"text": t, "_input_hash": i, "answer": answers[i % len(answers)]} | chosen[i]
            for i, (t, _) in enumerate(ROWS)
        ]
    )


add("prodigy_choice.jsonl", prodigy("choice"), {"anger": 10, "joy": 10}, predicted=40)
add("prodigy_binary.jsonl", prodigy("binary"), {"anger": 10, "joy": 10}, predicted=40)
add("prodigy_all_accepted.jsonl", prodigy("choice", ["accept"]), TWO)
add(
    "prodigy_none_accepted.jsonl",
    prodigy("choice", ["reject"]),
    "prodigy_none_accepted.jsonl has no accepted answer: annotate some rows.",
    predicted=40,
)

# Layouts of folders ----------------------------------------------------------------------------------------------------

SPLIT = {"anger": 24, "joy": 24}
for validation in ("dev", "val", "valid", "validation", "development", "Dev", "VAL"):
    add(f"with_{validation}", {"train.csv": table(), f"{validation}.csv": other()}, SPLIT, sizes={"validation": 8})
add("loud_names", {"TRAIN.CSV": table(), "Test.Csv": other()}, SPLIT, sizes={"test": 8})
add(
    "all_three",
    {
        "training.tsv": plain(separator="\t"),
        "val.tsv": other(4, separator="\t"),
        "testing.tsv": plain([("new 1", "joy"), ("new 2", "anger")], separator="\t"),
    },
    {"anger": 23, "joy": 23},
    sizes={"train": 40, "validation": 4, "test": 2},
)
HIDDEN = " has no labels: its 8 rows can be predicted, not scored."
GLUE = {
    "train.tsv": plain(head="sentence,label", separator="\t"),
    "dev.tsv": other(head="sentence,label", separator="\t"),
}
add("headers in another case", {"train.csv": plain(), "test.csv": other(head="Text,Label")}, SPLIT, sizes={"test": 8})
add(
    "glue",
    GLUE | {"test.tsv": "index\tsentence\n" + "".join(f"{i}\tquestion {i}\n" for i in range(8))},
    SPLIT,
    sizes={"validation": 8},
    notes=(f"test.tsv{HIDDEN}",),
)
add(
    "kaggle",
    {"train.csv": "id," + table(head="text,target"), "test.csv": ""},
    "test.csv is empty: it needs a header line and rows.",
)
KAGGLE = "id,text,target\n" + "".join(f"{i},{t},{i % 2}\n" for i, (t, _) in enumerate(ROWS))
add(
    "kaggle_competition",
    {
        "train.csv": KAGGLE,
        "test.csv": "id,text\n" + "".join(f"{i},q {i}\n" for i in range(8)),
        "sample_submission.csv": "id,target\n1,0\n",
    },
    {"0": 20, "1": 20},
    options={"label_column": "target"},
    notes=(f"test.csv{HIDDEN}", "Not read: sample_submission.csv."),
)
for name, label, says in (
    ("none", "NONE", " (NONE)"),
    ("minus_one", "-1", " (-1)"),
    ("blank", "", ""),
    ("question", "?", " (?)"),
):
    content = plain([(f"question {i}", label) for i in range(8)])
    add(
        f"test_{name}",
        {"train.csv": table(), "test.csv": content},
        TWO,
        notes=(f"test.csv has no labels{says}: its 8 rows can be predicted, not scored.",),
    )
add(
    "test_minus_one_known",
    {"train.csv": labelled(["-1", "1"]), "test.csv": plain([("q 1", "-1"), ("q 2", "-1")])},
    {"-1": 22, "1": 20},
    sizes={"test": 2},
)
add(
    "test_half_labelled",
    {"train.csv": table(), "test.csv": plain([("q 1", "joy"), ("q 2", "NONE")])},
    "test.csv, row 3: unknown label 'NONE': train has anger, joy.",
)
add(
    "validation_unlabelled",
    {"train.csv": table(), "dev.csv": questions()},
    "dev.csv has no column 'label': it has text.",
)
add(
    "unknown_label",
    {"train.csv": table(), "dev.csv": plain([("q 1", "Joy"), ("q 2", "anger")])},
    "dev.csv, row 2: unknown label 'Joy': train has joy.",
)
HUB = {
    f"data/{split}-00000-of-00001.parquet": hub_parquet([(f"{split} {t}", label) for t, label in ROWS[:size]])
    for split, size in (("train", 40), ("validation", 8))
}
add("hub_folder", HUB | {"README.md": "# data"}, SPLIT, sizes={"validation": 8})
add(
    "hub_folder_hidden",
    HUB | {"data/test-00000-of-00001.parquet": hub_parquet([(f"q {i}", "joy") for i in range(8)], unknown=True)},
    SPLIT,
    notes=("test-00000-of-00001.parquet has no labels: its 8 rows can be predicted, not scored.",),
)
PARTS = {f"train-0000{i}-of-00002.parquet": hub_parquet(ROWS[20 * i : 20 * i + 20]) for i in range(2)}
add("two_parts", PARTS, TWO)
add("part_missing", dict(list(PARTS.items())[:1]), "part_missing holds 1 of the 2 parts of train: fetch the others.")
add(
    "folders_of_splits",
    {
        "default/train/0000.parquet": hub_parquet(ROWS[:20]),
        "default/train/0001.parquet": hub_parquet(ROWS[20:]),
        "default/validation/0000.parquet": hub_parquet([(f"v {t}", label) for t, label in ROWS[:8]]),
    },
    SPLIT,
    sizes={"validation": 8},
)
add(
    "several_configurations",
    {f"{name}/train.csv": table() for name in ("emotion", "irony")},
    "holds several datasets (emotion, irony): name one folder.",
)
add(
    "saved_splits",
    lambda path: DatasetDict(
        train=named_labels(), valid=named_labels([(f"v {t}", label) for t, label in ROWS[:8]])
    ).save_to_disk(str(path)),
    SPLIT,
    sizes={"validation": 8},
)
add("saved_alone", lambda path: named_labels().save_to_disk(str(path)), TWO)
add(
    "names_with_words",
    {"emotion_train.csv": table(), "emotion_dev.csv": other(), "README.md": "x"},
    SPLIT,
    sizes={"validation": 8},
    notes=("emotion_train.csv is taken for train.", "emotion_dev.csv is taken for validation."),
)
add(
    "one_file",
    {"tweets.csv": table(), "LICENSE": "CC0"},
    TWO,
    notes=("tweets.csv, the only file of one_file, is taken for train.",),
)
add("hidden_files", {"train.csv": table(), "._train.csv": "x", "~$train.xlsx": "x", ".DS_Store": "x"}, TWO)
add("other_file", {"train.csv": table(), "lexicon.tsv": "a\tb\n"}, TWO, notes=("Not read: lexicon.tsv.",))
add("two_files", {"a.csv": table(), "b.csv": table()}, "holds no train file: name it train.csv")
add(
    "twice_train",
    {"train.csv": table(), "train.tsv": plain(separator="\t")},
    "twice_train holds train.csv and train.tsv: keep only one file for train.",
)
add(
    "val_and_dev",
    {"train.csv": table(), "val.csv": other(), "dev.csv": other()},
    "val_and_dev holds dev.csv and val.csv: keep only one file for validation.",
)
add("only_test", {"test.csv": table()}, "holds no train file (only test.csv): name one train.csv.")
add("empty_folder", {"README.md": "x"}, "holds no train file: name it train.csv")
add(
    "movie_folders",
    {f"{split}/{label}/0_1.txt": "good" for split in ("train", "test") for label in ("pos", "neg")},
    "holds .txt files in folders: put them into one train.csv: text,label.",
)
add(
    "columns_called_otherwise",
    {"train.csv": table(), "dev.csv": other(head="Text,LABEL")},
    SPLIT,
    sizes={"validation": 8},
)
add(
    "mixed_kinds",
    {
        "train.csv": table(),
        "dev.jsonl": jsonl(objects([(f"v {t}", label) for t, label in ROWS[:8]])),
        "test.xlsx": workbook({"S": [HEAD, ["t 1", "joy"], ["t 2", "anger"]]}),
    },
    {"anger": 25, "joy": 25},
    sizes={"train": 40, "validation": 8, "test": 2},
)

# Damage ----------------------------------------------------------------------------------------------------------------

add(
    "latin.csv",
    table([*ROWS, ("déjà", "joy")]).encode("latin-1"),
    "latin.csv is not UTF-8 (row 42, byte 0xe9): save it again with the encoding UTF-8.",
)
add(
    "utf16.csv", table().encode("utf-16"), "utf16.csv is not UTF-8 (row 1 begins as UTF-16, Excel's Unicode text, does)"
)
add("latin.jsonl", jsonl(objects()).encode() + b'{"text": "d\xe9"}\n', "latin.jsonl is not UTF-8 (row 41, byte 0xe9)")
add(
    "latin.txt",
    b"good\nd\xe9j\xe0\n",
    "latin.txt: a .txt file holds texts",
    predicted="latin.txt is not UTF-8 (row 2, byte 0xe9)",
)
for kind in ("csv", "tsv", "jsonl", "json"):
    add(f"empty.{kind}", "", f"empty.{kind} is empty")
add("header_alone.csv", "text,label\n", "header_alone.csv has no rows")
add("not_packed.csv.gz", table(), "not_packed.csv.gz could not be read (Not a gzipped file")
add("half.csv.gz", pack(table())[:-30], "half.csv.gz could not be read")
add(
    "broken.jsonl",
    jsonl(objects()) + '{"text": "x", \n',
    "broken.jsonl could not be read: row 41 is no JSON: repair it.",
)
add(
    "broken.json",
    json.dumps(objects())[:-5],
    "broken.json could not be read: line 1 is no JSON: repair or export it again.",
)
add("not_objects.json", json.dumps(["one", "two"]), "not_objects.json, row 1: 'one' is no object such as")
add("broken.parquet", parquet()[:-20], "broken.parquet could not be read")
add(
    "nested_text.jsonl",
    jsonl([{"text": {"en": t}, "label": label} for t, label in ROWS]),
    "nested_text.jsonl, row 1: 'text' is {'en': 'text number 0 about things'}, but must be one text or number.",
)
