"""`LabelWriter`: a language model that writes a text's labels, and looks like any other classifier of the course.
Taught in notebook 06: training on the answer alone in section 3, a score per label in section 6."""

from functools import cache

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers.modeling_outputs import SequenceClassifierOutput

from helpers.exceptions import SettingError
from helpers.generation.answers import Answers, make_answers
from helpers.generation.prompts import Prompt, make_prompt
from helpers.models.classifier import set_labels
from helpers.runs import is_main_process

IGNORED = -100  # the target of a token that is not learnt
LEAST_ROOM = 16  # tokens of a text: about a dozen words


class LabelWriter(nn.Module):
    """`backbone`, any `AutoModelForCausalLM` or a peft adapter on one, with a prompt and the answers for the labels.

    It reads encoded *texts* (see `read_as_text`), and puts the prompt around them itself: the loop, thresholds and
    `predict_logits` see a score per label, from one forward pass up to where the answer begins. With labels, it returns
    the loss of writing the right answer. `score_weight` says how much the scores of labels that come after the answer's
    first one count in it: 0 trains the answer alone.
    """

    own_loss = True  # `fit` asks for it instead of a loss of logits and labels

    def __init__(
        self, backbone: nn.Module, tokenizer, label_names: list[str], *, multilabel: bool = True,
        prompt: Prompt | None = None, score_weight: float = 1.0,
    ):  # fmt: skip
        super().__init__()
        self.backbone, self.config = backbone, backbone.config
        self.name_or_path = self.config._name_or_path
        set_labels(self.config, list(label_names), multilabel=multilabel)
        self.answers = make_answers(tokenizer, label_names, multilabel=multilabel)
        self.prompt = prompt or make_prompt(tokenizer, label_names, multilabel=multilabel)
        self.before, self.after = self.prompt.encode_ends(tokenizer)
        require_room(self.places, self.before, self.after, self.answers)
        self.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self.score_weight, self.temperature = score_weight, 1.0

    @property
    def base_model(self) -> nn.Module:
        """The language model without an adapter's wrapper."""
        return self.backbone.base_model.model if hasattr(self.backbone, "peft_config") else self.backbone

    @property
    def own_ids(self) -> list[int]:
        """The tokens that prompt and answers bring along, besides those of the texts."""
        answers = self.answers
        return [*self.before, *self.after, *answers.comma, answers.end, self.pad_id, *sum(answers.pieces, ())]

    @property
    def places(self) -> int | None:
        """How many tokens the model reads; None where the architecture has no last place."""
        return getattr(self.config, "max_position_embeddings", None)

    @property
    def room(self) -> int | None:
        """How many tokens of a text have a place beside prompt and answer: of a longer one the end is left out, as of every
        text that is too long for a model. None where there is no last place."""
        return self.places and self.places - len(self.before) - len(self.after) - self.answers.longest

    def get_input_embeddings(self) -> nn.Module:
        """Return the table of token vectors."""
        return self.base_model.get_input_embeddings()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None, **ignored
    ) -> SequenceClassifierOutput:  # fmt: skip
        """Return `logits` `(batch, labels)` for texts' token ids and mask, both `(batch, length)`; or, with `labels`, the
        `loss` of the answers, its mean over the texts."""
        texts = [ids[kept > 0].tolist() for ids, kept in zip(input_ids.cpu(), attention_mask.cpu(), strict=True)]
        if labels is None:
            return SequenceClassifierOutput(logits=self.score(texts) / self.temperature)
        rows = labels.cpu().numpy()
        answers = [self.answers.encode(row) for row in rows]
        logits = self.read(texts, answers).float()  # (batch, answer + 1, vocabulary)
        loss = completion_loss(logits[:, :-1], self.make_targets(answers).to(logits.device))
        if self.answers.multilabel and self.answers.distinct and self.score_weight:
            scores = break_stick(logits[:, 0, self.answers.first_tokens])
            loss = loss + self.score_weight * later_loss(scores, labels)
        return SequenceClassifierOutput(loss=loss)

    def score(self, texts: list[list[int]]) -> torch.Tensor:
        """Return a score per label `(batch, labels)`: the logit of its first token as the answer's first; where several
        labels may be true, the log-odds that it is in the answer if none before it is (`break_stick`)."""
        if self.answers.distinct:
            logits = self.read(texts, [[] for _ in texts])[:, 0, self.answers.first_tokens].float()
        else:
            logits = torch.stack([self.weigh(texts, piece) for piece in self.answers.pieces], dim=1)
        return break_stick(logits) if self.answers.multilabel else logits

    def weigh(self, texts: list[list[int]], piece: tuple[int, ...]) -> torch.Tensor:
        """Return the log-probability `(batch,)` that each text's answer begins with the label of the tokens `piece`: their
        sum, and that of what may follow the whole label. For labels that begin alike; a forward pass each."""
        log_p = self.read(texts, [list(piece) for _ in texts]).float().log_softmax(dim=-1)
        written = log_p[:, range(len(piece)), list(piece)].sum(dim=1)
        follows = [self.answers.end, *([self.answers.comma[0]] if self.answers.multilabel else [])]
        return written + log_p[:, len(piece), follows].logsumexp(dim=-1)

    def read(self, texts: list[list[int]], answers: list[list[int]]) -> torch.Tensor:
        """Return the logits `(batch, answer + 1, vocabulary)` of every next token from the answer's first one on.

        Texts are padded on the left, so that all answers begin at one place, answers on the right. What stands before
        every text is computed once for all of them, with gradients, unless layers are computed a second time for these.
        """
        ids, mask, longest = self.lay_out(texts, answers)
        how = {"attention_mask": mask, "logits_to_keep": longest + 1, "use_cache": False}
        again = self.training and any(getattr(part, "gradient_checkpointing", False) for part in self.modules())
        if self.before and not again:
            begin = torch.tensor([self.before], device=ids.device)
            cache = self.backbone(input_ids=begin, use_cache=True, logits_to_keep=1).past_key_values
            cache.batch_repeat_interleave(len(texts))
            how["past_key_values"] = cache
        else:
            begin = torch.tensor([self.before] * len(texts), dtype=torch.long, device=ids.device)
            ids = torch.cat([begin, ids], dim=1)
        before = torch.ones(len(texts), len(self.before), dtype=torch.long, device=ids.device)
        how["attention_mask"] = torch.cat([before, mask], dim=1)
        how["position_ids"] = (how["attention_mask"].cumsum(dim=1) - 1)[:, -ids.shape[1] :]  # padding counts nothing
        return self.backbone(input_ids=ids, **how).logits

    def lay_out(self, texts, answers, *, before=()) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Return ids and mask `(batch, length)` of what follows the prompt's beginning, or of that as well if it is given as
        `before`, and the longest answer's length."""
        if self.room and max(map(len, texts)) > self.room:
            say_room(self.room, self.places)
        middles = [[*before, *text[: self.room], *self.after] for text in texts]
        width, longest = max(map(len, middles)), max(map(len, answers))
        ids, mask = [], []
        for middle, answer in zip(middles, answers, strict=True):
            left, right = width - len(middle), longest - len(answer)
            ids.append([self.pad_id] * left + middle + answer + [self.pad_id] * right)
            mask.append([0] * left + [1] * (len(middle) + len(answer)) + [0] * right)
        where = self.get_input_embeddings().weight.device
        return torch.tensor(ids, device=where), torch.tensor(mask, device=where), longest

    def make_targets(self, answers: list[list[int]]) -> torch.Tensor:
        """Return the tokens to be written `(batch, answer)`, `IGNORED` where there are none."""
        longest = max(map(len, answers))
        return torch.tensor([answer + [IGNORED] * (longest - len(answer)) for answer in answers])


def require_room(places: int | None, before: list[int], after: list[int], answers: Answers) -> None:
    """Raise `SettingError` where prompt (`before` and `after` the text) and answer leave a text no room to speak of."""
    taken = len(before) + len(after) + answers.longest
    if places is not None and places - taken < LEAST_ROOM:
        raise SettingError(
            f"Prompt and labels take {taken:,} of the model's {places:,} tokens: choose a decoder that reads more, or "
            "fewer or shorter labels."
        )


@cache  # so that it is said once
def say_room(room: int, places: int) -> None:
    """Print that texts are cut where the room for them ends."""
    if is_main_process():
        print(f"Texts are cut at {room:,} tokens: prompt and labels take the rest of the model's {places:,}.")


def completion_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean over the texts of -log p(answer): the cross-entropy of its tokens, summed; `logits` `(batch, answer,
    vocabulary)`, `targets` `(batch, answer)`. The prompt's tokens are not among them: they are given, not to be learnt."""
    return cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum") / len(targets)


def break_stick(logits: torch.Tensor) -> torch.Tensor:
    """Return the log-odds `(batch, labels)` of each label against all that comes later, "none" included, from the logits
    `(batch, labels + 1)` of the answer's first word.

    The first word of an answer in the corpus's order settles one label after the other, as one breaks pieces off a stick:
    this one, or one of the rest? After Khan et al., *A Stick-Breaking Likelihood for Categorical Data* (2012).
    """
    later = logits.flip(1).logcumsumexp(dim=1).flip(1)  # (batch, labels + 1): the log of the sum from each on
    return logits[:, :-1] - later[:, 1:]


def later_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy of the labels after each text's first true one, summed, its mean over the texts.
    Up to that one, the answer's first token teaches the scores already."""
    settled = labels.cumsum(dim=1) - labels > 0  # an earlier label is true: the first word says nothing of this one
    return (binary_cross_entropy_with_logits(scores, labels, reduction="none") * settled).sum() / len(labels)
