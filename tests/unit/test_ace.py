"""Adaptive cross entropy: equations 10 to 13 by hand, and the corners that the paper leaves open."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from crossface.train.ace import ace_weights, alpha_steps, class_counts, cross_entropy, one_hot

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


def test_alpha_zero_is_cross_entropy_of_torch():
    torch.manual_seed(0)
    logits, labels = torch.randn(32, 7), torch.randint(0, 7, (32,))
    counts = class_counts(labels, logits.argmax(1) == labels, torch.zeros_like(labels), (1, 7))
    loss = cross_entropy(
        logits.log_softmax(1), one_hot(labels, 7), ace_weights(*counts, alpha=0.0)[0].expand(32, 7)
    )
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels))


def test_soft_targets_are_weighted_by_column():
    log_p = torch.log(torch.tensor([[0.5, 0.5]]))
    loss = cross_entropy(log_p, torch.tensor([[0.25, 0.75]]), torch.tensor([[2.0, 4.0]]))
    assert loss.item() == pytest.approx((2 * 0.25 + 4 * 0.75) * torch.log(torch.tensor(2.0)).item())


def test_alpha_steps_at_the_quarters():
    assert [alpha_steps(p) for p in (0, 0.24, 0.25, 0.5, 0.75, 1.0)] == [0.1, 0.1, 0.5, 0.9, 1.0, 1.0]
