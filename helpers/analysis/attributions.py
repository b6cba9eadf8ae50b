"""Which tokens a prediction rests on, with the check that they add up. Taught in notebook 03, section 5."""

from dataclasses import dataclass

import numpy as np
import torch

from helpers.models.predict import modes_restored


@dataclass(frozen=True)
class Attribution:
    """How much each token moved a text's score away from that of the same text with every token blanked out."""

    tokens: list[str]
    values: np.ndarray  # (tokens,): they should add up to score - baseline_score
    score: float
    baseline_score: float

    @property
    def gap(self) -> float:
        """What the values miss of the difference of the scores: 0 for infinitely many steps."""
        return float(self.values.sum() - (self.score - self.baseline_score))


def attribute_tokens(classifier, tokenizer, text: str, *, label: int, max_length: int, steps: int = 32) -> Attribution:
    """Return the attributions of `text` for the logit of `label` minus the mean of the other labels' logits.

    Integrated gradients (Sundararajan, Taly & Yan, 2017) follow a straight line from a blank text, whose tokens are all
    padding but for the special ones, to the real one, in `steps` steps, and add up the gradients on the way. Computed
    in fp32 and in evaluation mode; the model's mode is restored.
    """
    from captum.attr import LayerIntegratedGradients

    where = next(classifier.parameters()).device
    encoded = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt").to(where)
    ids, mask = encoded["input_ids"], encoded["attention_mask"]  # (1, length)
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids, device=where))
    blank = torch.where(special, ids, torch.full_like(ids, tokenizer.pad_token_id))

    def score(token_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits = classifier(token_ids, attention_mask).logits
        others = (logits.sum(dim=1) - logits[:, label]) / (logits.shape[1] - 1)
        return logits[:, label] - others  # (batch,)

    with modes_restored(classifier):
        gradients = LayerIntegratedGradients(score, classifier.get_input_embeddings())
        values = gradients.attribute(
            ids, baselines=blank, additional_forward_args=(mask,), n_steps=steps, internal_batch_size=32
        ).sum(dim=2)  # (1, length, hidden) -> (1, length)
        with torch.inference_mode():
            ends = score(ids, mask).item(), score(blank, mask).item()
    tokens = tokenizer.convert_ids_to_tokens(ids[0].tolist())
    return Attribution(tokens, values[0].detach().double().cpu().numpy(), *ends)
