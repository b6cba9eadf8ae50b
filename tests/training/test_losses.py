import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from helpers.training.losses import (
    LOSSES,
    asymmetric_loss,
    count_pos_weights,
    default_loss,
    make_loss,
    weighted_bce,
)  # fmt: skip

LABELS = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]], dtype=np.float32)


def random_batch(rows=6, labels=3):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, labels, generator=generator) * 3
    return logits, (torch.rand(rows, labels, generator=generator) < 0.3).float()


def test_pos_weight_is_negatives_by_positives():
    assert count_pos_weights(LABELS) == pytest.approx([1 / 3, 3.0, 1.0])
    assert count_pos_weights(LABELS, power=0.5) == pytest.approx([(1 / 3) ** 0.5, 3**0.5, 1.0])


def test_a_label_that_never_occurs_weighs_one_and_one_that_always_does_nothing():
    assert count_pos_weights(np.array([[0, 1], [0, 1]])) == pytest.approx([1.0, 0.0])


def test_weights_count_positive_rows_as_often_as_they_say():
    logits, labels = torch.zeros(1, 1), torch.ones(1, 1)
    assert weighted_bce([3.0])(logits, labels) == pytest.approx(3 * np.log(2), rel=1e-6)
    assert weighted_bce([3.0])(logits, 1 - labels) == pytest.approx(np.log(2), rel=1e-6)


def test_full_weights_balance_both_sides_of_every_label():
    labels = torch.tensor(LABELS[:, :2])
    logits = torch.zeros_like(labels, requires_grad=True)
    weighted_bce(count_pos_weights(LABELS[:, :2]))(logits, labels).backward()
    assert logits.grad.sum(dim=0) == pytest.approx([0.0, 0.0], abs=1e-7)  # at p = 1/2 neither side pulls harder


@pytest.mark.parametrize("loss", [make_loss("bce", LABELS), asymmetric_loss(0, 0)])
def test_without_weights_and_gammas_it_is_binary_cross_entropy(loss):
    assert loss(*random_batch()) == pytest.approx(default_loss(*random_batch()).item(), rel=1e-6)


def test_focal_and_asymmetric_loss_by_hand():
    logits = torch.tensor([[np.log(3.0), np.log(3.0)]], dtype=torch.float32)  # both probabilities are 3/4
    labels = torch.tensor([[1.0, 0.0]])
    focal = (0.25**2 * -np.log(0.75) + 0.75**2 * -np.log(0.25)) / 2
    assert make_loss("focal", LABELS)(logits, labels) == pytest.approx(focal, rel=1e-5)
    asymmetric = (0.25 * -np.log(0.75) + 0.70**4 * -np.log(0.30)) / 2
    assert make_loss("asymmetric", LABELS)(logits, labels) == pytest.approx(asymmetric, rel=1e-5)


def test_negatives_below_the_margin_count_nothing():
    logits = torch.full((2, 3), -4.0, requires_grad=True)  # probability 0.018
    asymmetric_loss(1, 4, margin=0.05)(logits, torch.zeros(2, 3)).backward()
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", LOSSES)
@given(size=st.floats(-80, 80))
def test_losses_and_gradients_stay_finite(name, size):
    logits = torch.full((4, 3), size, requires_grad=True)
    loss = make_loss(name, LABELS)(logits, torch.tensor(LABELS))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()
    assert loss >= 0


@pytest.mark.parametrize("name", LOSSES)
def test_right_answers_cost_less(name):
    labels = torch.tensor(LABELS)
    loss = make_loss(name, LABELS)
    assert loss((labels - 0.5) * 8, labels) < loss(torch.zeros_like(labels), labels) < loss((0.5 - labels) * 8, labels)


def test_an_unknown_loss_is_refused_with_a_list():
    with pytest.raises(ValueError, match=r"'hinge' is unknown: use one of bce, sqrt_pos_weight, pos_weight, focal"):
        make_loss("hinge", LABELS)


def test_weighted_loss_agrees_with_pytorch():
    logits, labels = random_batch()
    weights = torch.tensor([1.0, 2.0, 5.0])
    assert torch.equal(
        weighted_bce(weights.numpy())(logits, labels),
        binary_cross_entropy_with_logits(logits, labels, pos_weight=weights),
    )
