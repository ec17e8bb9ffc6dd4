"""Adaptive cross entropy: equations 10 to 13 by hand, and the corners that the paper leaves open."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from crossface.train.losses.ace import AdaptiveCrossEntropy, ace_weights, alpha_steps, class_counts
from crossface.train.losses.cross_entropy import cross_entropy

# 3 samples of class 0 of which 1 is right, 1 sample of class 1, wrong; class 2 is absent, so c = 2.
# w_d = 2 (1 - 3/4) / 1, 2 (1 - 1/4) / 1 = .5, 1.5
# misses 2/3, 1;  w_p = 2 (2/3) / (5/3), 2 / (5/3) = .8, 1.2
# w = .4, 1.8;  mean 1.1
COUNT, HIT = torch.tensor([3.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(1.0, [0.4, 1.8]), (0.5, [0.75, 1.45]), (2.0, [0.0, 2.5]), (0.0, [1.0, 1.0])],
)
def test_weights_worked_by_hand(alpha, expected):
    assert ace_weights(COUNT, HIT, alpha)[:2].tolist() == pytest.approx(expected, abs=1e-6)


def test_normalised_weights_have_mean_one():
    assert ace_weights(COUNT, HIT, 1.0, normalize=True)[:2].tolist() == pytest.approx(
        [0.4 / 1.1, 1.8 / 1.1], abs=1e-6
    )


def test_each_group_has_its_own_weights():
    both = ace_weights(torch.stack([COUNT, COUNT * 2]), torch.stack([HIT, HIT * 2]), 1.0)
    torch.testing.assert_close(both[0], both[1])


@pytest.mark.parametrize(
    ("count", "hit"),
    [([2.0, 3.0], [2.0, 3.0]), ([4.0, 0.0], [1.0, 0.0]), ([0.0, 0.0], [0.0, 0.0])],
    ids=["every class perfect", "one class present", "nothing of this dataset in the batch"],
)
def test_corners_are_plain_cross_entropy(count, hit):
    assert ace_weights(torch.tensor(count), torch.tensor(hit), 1.0).tolist() == [1.0, 1.0]


def test_counts_by_group():
    count, hit = class_counts(
        torch.tensor([0, 1, 1, 0]),
        torch.tensor([True, True, False, True]),
        torch.tensor([0, 0, 0, 1]),
        (2, 2),
    )
    assert count.tolist() == [[1, 2], [1, 0]]
    assert hit.tolist() == [[1, 1], [1, 0]]


counts = st.lists(st.integers(0, 50), min_size=2, max_size=7)


@given(counts=counts, shares=st.lists(st.floats(0, 1), min_size=7, max_size=7), alpha=st.floats(0, 1))
def test_weights_are_finite_never_negative_and_favour_the_missed(counts, shares, alpha):
    count = torch.tensor([float(n) for n in counts])
    hit = torch.floor(count * torch.tensor(shares[: len(counts)]))
    weights = ace_weights(count, hit, alpha)
    assert torch.isfinite(weights).all()
    assert (weights >= 0).all()
    recall = hit / count.clamp(min=1)
    rarer_and_worse = (count[:, None] > 0) & (count[:, None] < count[None]) & (recall[:, None] < recall[None])
    assert (weights[:, None] >= weights[None] - 1e-5)[rarer_and_worse].all()


def loss_of(alpha, logits, labels, group, progress=1.0, groups=1):
    loss = AdaptiveCrossEntropy(alpha, normalize=False, groups=groups, classes=logits.shape[1])
    target = F.one_hot(labels, logits.shape[1]).float()
    return loss(torch.zeros(len(labels), 1), logits, target, labels, group, progress)


def test_alpha_zero_is_cross_entropy_of_torch():
    torch.manual_seed(0)
    logits, labels = torch.randn(32, 7), torch.randint(0, 7, (32,))
    value = loss_of(0.0, logits, labels, torch.zeros_like(labels))
    torch.testing.assert_close(value.total, F.cross_entropy(logits, labels))
    assert value.class_weights.tolist() == [1.0] * 7


def test_the_loss_weighs_each_group_by_its_own_counts():
    """Group 0 is the example worked above; group 1 is perfect, hence plain."""
    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    logits = torch.eye(3)[torch.tensor([0, 1, 1, 0, 2, 2])]
    group = torch.tensor([0, 0, 0, 0, 1, 1])
    value = loss_of(1.0, logits, labels, group, groups=2)
    weights = torch.tensor([0.4, 0.4, 0.4, 1.8, 1.0, 1.0])
    torch.testing.assert_close(
        value.total, (weights * F.cross_entropy(logits, labels, reduction="none")).mean()
    )
    torch.testing.assert_close(value.class_weights, torch.tensor([0.7, 1.4, (1.1 + 1) / 2]))


def test_alpha_follows_progress():
    labels = torch.tensor([0, 0, 0, 1])
    logits = torch.eye(2)[torch.tensor([0, 1, 1, 0])]
    early, late = (
        loss_of("steps", logits, labels, torch.zeros_like(labels), progress).class_weights
        for progress in (0.0, 0.99)
    )
    assert early.tolist() == pytest.approx([1.1 - 0.1 * 0.7, 1.1 + 0.1 * 0.7], abs=1e-6)
    assert late.tolist() == pytest.approx([0.4, 1.8], abs=1e-6)


def test_soft_targets_are_weighted_by_column():
    log_p = torch.log(torch.tensor([[0.5, 0.5]]))
    loss = cross_entropy(log_p, torch.tensor([[0.25, 0.75]]), torch.tensor([[2.0, 4.0]]))
    assert loss.item() == pytest.approx((2 * 0.25 + 4 * 0.75) * torch.log(torch.tensor(2.0)).item())


def test_alpha_steps_at_the_quarters():
    assert [alpha_steps(p) for p in (0, 0.24, 0.25, 0.5, 0.75, 1.0)] == [0.1, 0.1, 0.5, 0.9, 1.0, 1.0]
