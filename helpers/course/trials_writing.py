"""What exercises do with a function that a learner wrote for a model that writes: as in `trials`, for notebook 06."""

import numpy as np
import torch
from torch import nn


def learn_answers(function, steps: int) -> list[float] | None:
    """Return two losses, of the prompt's tokens and of the answer's, after so many steps of a model that foretells each
    token from the one before it, trained on the targets of the learner's `make_targets(prompt, answer)`."""
    prompt, answer = [1, 2, 3, 1, 4, 3], [5, 6, 0]
    ids, table = torch.tensor(prompt + answer), torch.zeros(7, 7, requires_grad=True)
    for _ in range(steps):
        targets = function(list(prompt), list(answer))
        if targets is None:
            return None
        if len(targets) != len(ids):
            raise ValueError(f"{len(ids)} tokens need as many targets, not {len(targets)}")
        loss = nn.functional.cross_entropy(table[ids[:-1]], torch.tensor(targets)[1:])
        (gradient,) = torch.autograd.grad(loss, table)
        table = (table - gradient).detach().requires_grad_()
    losses = nn.functional.cross_entropy(table[ids[:-1]], ids[1:], reduction="none").detach()
    return [losses[: len(prompt) - 1].mean().item(), losses[len(prompt) - 1 :].mean().item()]


def write_one_label(function, times: int) -> list[int] | None:
    """Return how many of so many answers are valid, and how many different ones there are, where random numbers choose
    among the tokens that the learner's `allow_one(written, words, end)` lets follow."""
    words, end, draw, found = [[3], [4, 5], [4, 6, 5], [4]], 0, np.random.default_rng(0), []
    for _ in range(times):
        written = []
        while end not in written and len(written) < 6:
            allowed = function(list(written), [list(word) for word in words], end)
            if allowed is None:
                return None
            if not allowed:
                raise ValueError(f"after {written} nothing is allowed, not even the end")
            written.append(int(draw.choice(sorted(allowed))))
        found.append(tuple(written))
    valid = [answer for answer in found if list(answer[:-1]) in words and answer[-1] == end]
    return [len(valid), len(set(valid))]


def continue_padded(function) -> list[int] | None:
    """Return for each of three rows of a batch that the learner's `pad_left(rows, pad)` made, 1 if a small GPT-2 foretells
    its next token from the batch's last place as it does from the row alone, else 0."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    size = {"vocab_size": 16, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}
    size |= {"bos_token_id": 0, "eos_token_id": 0}
    net = GPT2LMHeadModel(GPT2Config(**size, initializer_range=0.5)).eval()
    rows = [[5, 6, 7, 8, 9], [3, 4], [9, 9, 2]]
    found = function([list(row) for row in rows], 1)
    if found is None:
        return None
    ids, mask, positions = (torch.tensor(part) for part in found)
    with torch.inference_mode():
        together = net(input_ids=ids, attention_mask=mask, position_ids=positions).logits[:, -1]
        alone = [net(input_ids=torch.tensor([row])).logits[0, -1] for row in rows]
    return [int(torch.allclose(a, b, atol=1e-4)) for a, b in zip(together, alone, strict=True)]
