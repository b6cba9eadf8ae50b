"""Work that a step leaves out without computing anything else: each is a block, after which the classifier is as before.

Most of a training step on a CPU is matrix products; they are fewer if nothing is computed that nobody reads. What each
shortcut gains is measured by `tests/benchmarks/bench_step.py`. Taught in no notebook: what is trained is the same.
`fit` does not look at the first token alone: dropout would draw other numbers than in the loop of notebook 01.
"""

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from helpers.models.classifier import TextClassifier, backbone_of, plain_model

# Where the feed-forward half of an architecture's last layer begins: behind this module, which adds attention and input.
BEFORE_FEED_FORWARD = {
    "bert": "encoder.layer.-1.attention",
    "roberta": "encoder.layer.-1.attention",
    "xlm-roberta": "encoder.layer.-1.attention",
    "electra": "encoder.layer.-1.attention",
    "distilbert": "transformer.layer.-1.sa_layer_norm",
}
WORTH_IT = 0.8  # share of the vocabulary beyond which the rows that nobody trains are too few to leave out


@contextlib.contextmanager
def first_token_only(classifier: nn.Module) -> Iterator[None]:
    """Inside the block, let the last layer's feed-forward half see each text's first token alone.

    The architecture's own class reads no other, so the logits are the same; of six layers a ninth of all products
    goes. `last_hidden_state` has one place per text meanwhile. A classifier that reads more is left as it is.
    """
    module = _find_last_attention(classifier)
    if module is None:
        yield
        return

    def keep_first(_module, _inputs, output):
        hidden, *rest = output if isinstance(output, tuple) else (output,)
        first = hidden[:, :1].contiguous()  # products of strided rows round in another way from call to call
        return (first, *rest) if rest else first

    hook = module.register_forward_hook(keep_first)
    try:
        yield
    finally:
        hook.remove()


def _find_last_attention(classifier: nn.Module) -> nn.Module | None:
    """Return the module behind which only the first token counts, None where all tokens do."""
    path = BEFORE_FEED_FORWARD.get(getattr(classifier.config, "model_type", None))
    if path is None or isinstance(plain_model(classifier), TextClassifier):
        return None
    layers, name = path.split(".-1.")
    return getattr(backbone_of(classifier).get_submodule(layers)[-1], name)


class OccurringWords(nn.Module):
    """The token table reduced to the rows of some token ids: a lookup that gives what the whole table gives.

    For its state dict it is the whole table, so that checkpoints are those of the classifier as it is outside.
    """

    def __init__(self, whole: nn.Embedding, ids: torch.Tensor):
        super().__init__()
        place = torch.zeros(whole.num_embeddings, dtype=torch.long, device=whole.weight.device)
        place[ids] = torch.arange(len(ids), device=place.device)
        self.register_buffer("place", place, persistent=False)  # of a token id in `weight`
        self.ids, self._whole = ids, [whole]  # in a list: no part of this module, and so stays on its device
        self.padding_idx = None if whole.padding_idx is None else int(place[whole.padding_idx])
        self.weight = nn.Parameter(whole.weight.detach()[ids])

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return the vectors of `input_ids` `(batch, length)`, which must occur: `(batch, length, hidden)`."""
        return nn.functional.embedding(self.place[input_ids], self.weight, self.padding_idx)

    def write_back(self) -> nn.Embedding:
        """Return the whole table, in place with the rows as they are here."""
        whole = self._whole[0]
        with torch.no_grad():
            whole.weight[self.ids] = self.weight.to(whole.weight)
        return whole

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        destination[prefix + "weight"] = self.write_back().weight.detach()

    def _load_from_state_dict(self, state_dict, prefix, *others):
        if prefix + "weight" in state_dict:
            whole = self._whole[0].weight
            with torch.no_grad():
                whole.copy_(state_dict[prefix + "weight"])
                self.weight.copy_(whole[self.ids])


@contextlib.contextmanager
def occurring_words_only(classifier: nn.Module, token_ids: Iterable[int]) -> Iterator[None]:
    """Inside the block, hold of a trained token table only the rows of `token_ids`: no text may have others.

    A word that does not occur has no gradient: AdamW would move its row by weight decay alone, a thousandth in a usual
    run, at the price of the whole table's gradient, norm and update. A frozen or a shared table is left as it is.
    """
    backbone = backbone_of(classifier)
    whole = backbone.get_input_embeddings()
    ids = set(token_ids) if _can_be_reduced(classifier, whole) else None  # many ids: not looked at for nothing
    if ids is None or len(ids) > WORTH_IT * whole.num_embeddings:
        yield
        return
    name = next(name for name, module in backbone.named_modules() if module is whole)
    if whole.padding_idx is not None:
        ids.add(whole.padding_idx)
    reduced = OccurringWords(whole, torch.tensor(sorted(ids), device=whole.weight.device))
    backbone.set_submodule(name, reduced)
    try:
        yield
    finally:
        backbone.set_submodule(name, reduced.write_back().to(reduced.weight.device))


def _can_be_reduced(classifier: nn.Module, table: nn.Module) -> bool:
    """Return whether `table` is a plain lookup that is trained, and whose weight no other layer uses."""
    if type(table) is not nn.Embedding or not table.weight.requires_grad:
        return False
    return sum(parameter is table.weight for _, parameter in classifier.named_parameters(remove_duplicate=False)) == 1
