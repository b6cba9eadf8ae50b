"""What a model reads before it answers: an instruction, the text, and the place where the answer begins.
Taught in notebook 06, section 1."""

from collections.abc import Iterable
from dataclasses import dataclass

from helpers.exceptions import SettingError

TEXT = "{text}"
# How a tokenizer reads a text as text alone: no special tokens around it, and none in it, whatever it says.
AS_TEXT = {"add_special_tokens": False, "split_special_tokens": True}
NO_LABEL = ("none", "no label", "no label at all")


@dataclass(frozen=True)
class Prompt:
    """What stands before a text and after it; the text itself is tokenised apart, so that nothing else can be cut."""

    before: str
    after: str

    def fill(self, text: str) -> str:
        """Return the whole prompt for `text`, as one would read it."""
        return self.before + text + self.after

    def encode_ends(self, tokenizer) -> tuple[list[int], list[int]]:
        """Return the token ids before the text and after it. What the tokenizer puts before every text, the begin token
        of some models, comes first, once: also if the prompt's own words name it."""
        before, after = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in (self.before, self.after))
        begin = find_begin(tokenizer)
        return before if before[: len(begin)] == begin else begin + before, after


def find_begin(tokenizer) -> list[int]:
    """Return the special tokens that `tokenizer` puts before a text: [], or the begin token."""
    plain, whole = (tokenizer("x", add_special_tokens=special)["input_ids"] for special in (False, True))
    starts = [place for place in range(len(whole)) if whole[place : place + len(plain)] == plain]
    return whole[: starts[0]] if starts else []


def name_none(label_names: Iterable[str]) -> str:
    """Return what is written where no label is true: the first of `NO_LABEL` that no label is called, whatever its case.
    Raises `SettingError` where there is none left."""
    taken = {name.strip().casefold() for name in label_names}
    free = [words for words in NO_LABEL if words not in taken]
    if not free:
        raise SettingError(f"No words are left for a text without a label: rename one of {', '.join(NO_LABEL)}.")
    return free[0]


def write_instruction(label_names: list[str], *, multilabel: bool = True) -> str:
    """Return what the model is asked to do, in words: the labels, and how to answer."""
    names = ", ".join(label_names)
    if multilabel:
        return f"Which of these does the text express: {names}? Answer with a list in this order, or {name_none(label_names)}."
    return f"Which one of these fits the text: {names}? Answer with one."


def make_prompt(
    tokenizer, label_names: list[str], *, multilabel: bool = True, instruction: str | None = None,
    examples: list[tuple[str, str]] = (), chat: bool | None = None,
) -> Prompt:  # fmt: skip
    """Return the prompt for these labels: in the chat template of `tokenizer` if it has one (or as `chat` says), else in
    plain lines. `examples`, pairs of a text and its answer, stand before the question: few-shot."""
    ask = write_instruction(label_names, multilabel=multilabel) if instruction is None else instruction
    chat = bool(getattr(tokenizer, "chat_template", None)) if chat is None else chat
    turns = [(f"Text: {text}", answer) for text, answer in [*examples, (TEXT, None)]]
    if not chat:
        lines = [f"{asked}\nAnswer:" + ("" if answer is None else f" {answer}\n\n") for asked, answer in turns]
        return split_prompt(f"{ask}\n\n" + "".join(lines))
    messages = [{"role": "system", "content": ask}]
    for asked, answer in turns:
        messages.append({"role": "user", "content": asked})
        messages += [] if answer is None else [{"role": "assistant", "content": answer}]
    return split_prompt(apply_template(tokenizer, messages))


def apply_template(tokenizer, messages: list[dict]) -> str:
    """Return a chat in the model's own template, as text, with the answer's beginning opened. A template that knows no
    system turn gets its words at the head of the first question."""
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # the template's own words, in a language of templates: they say anything
        if messages[0]["role"] != "system":
            raise SettingError(
                "The model's chat template cannot be filled in: pass chat=False for plain lines."
            ) from error
    first = {"role": "user", "content": f"{messages[0]['content']}\n\n{messages[1]['content']}"}
    return apply_template(tokenizer, [first, *messages[2:]])


def split_prompt(whole: str) -> Prompt:
    """Return a prompt from its words, in which {text} marks the place of the text: the last one, if there are several."""
    before, mark, after = whole.rpartition(TEXT)
    if not mark:
        raise SettingError("The prompt has no place for the text: write {text} where it belongs.")
    return Prompt(before, after)


def encode_prompt(prompt: Prompt, text: str, tokenizer, *, max_length: int | None = None) -> list[int]:
    """Return the token ids of the prompt with `text` in it. Of a text of more than `max_length` tokens the rest is left
    out, never the instruction or what follows; a special token's name in the text is read as text."""
    before, after = prompt.encode_ends(tokenizer)
    ids = tokenizer(text, **AS_TEXT, verbose=False)["input_ids"]  # no word on long texts
    return [*before, *ids[:max_length], *after]


def read_as_text(tokenizer):
    """Return `tokenizer`, in place told to read every text as text alone when `models.encode_texts` asks. For a model
    that puts its prompt around the texts."""
    tokenizer.as_text = AS_TEXT
    return tokenizer
