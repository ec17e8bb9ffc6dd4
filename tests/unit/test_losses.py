"""The emotion losses: closed forms, trusted libraries, and the corners that none may stumble over."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from crossface.train.config import ClusterConfig, FocalConfig, TrainConfig
from crossface.train.losses import EMOTION_LOSSES, ace, build_emotion_loss
from crossface.train.losses.class_balanced import ClassBalanced
from crossface.train.losses.class_weights import effective_number, inverse_frequency
from crossface.train.losses.cross_entropy import CrossEntropy
from crossface.train.losses.focal import FocalLoss
from crossface.train.losses.targets import one_hot, smooth
from crossface.train.losses.weighted_cluster import WeightedCluster

WIDTH = 5
COUNTS = torch.tensor([[40, 3, 0, 90, 7, 12, 60], [5, 5, 5, 500, 5, 0, 5]])
"""Train samples of two groups; each has an emotion that it never shows."""


def batch(n=24, groups=2, seed=0):
    """Features, logits, soft targets, hard labels, groups."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, 7, generator=random)
    classes = torch.randint(0, 7, (n,), generator=random)
    target = smooth(one_hot(classes, 7), 0.3) * 0.5 + 0.5 * torch.rand(n, 7, generator=random).softmax(-1)
    group = torch.arange(n) % groups
    return torch.randn(n, WIDTH, generator=random), logits, target, classes, group


def build(name, counts=COUNTS):
    torch.manual_seed(0)
    config = TrainConfig(
        loss=name, ace_alpha=1.0, focal=FocalConfig(gamma=0.5), cluster=ClusterConfig(weight=1)
    )
    return build_emotion_loss(config, counts, WIDTH)


# Targets and weights


@pytest.mark.parametrize("amount", [0.0, 0.1])
def test_smoothed_cross_entropy_is_that_of_torch(amount):
    features, logits, _, classes, group = batch()
    loss = CrossEntropy()(features, logits, smooth(one_hot(classes, 7), amount), classes, group, 0.0)
    torch.testing.assert_close(loss.total, F.cross_entropy(logits, classes, label_smoothing=amount))


def test_effective_number_worked_by_hand():
    """beta = 1/2: 1 and 2/3 of a mean of 5/6."""
    weights = effective_number(torch.tensor([[1, 2, 0], [0, 0, 0]]), 0.5)
    torch.testing.assert_close(weights, torch.tensor([[1.2, 0.8, 1.0], [1.0, 1.0, 1.0]]))


def test_effective_number_goes_from_no_weights_to_inverse_frequency():
    torch.testing.assert_close(effective_number(COUNTS, 0.0), torch.ones(2, 7))
    torch.testing.assert_close(
        effective_number(COUNTS, 1 - 1e-9), inverse_frequency(COUNTS), rtol=1e-4, atol=0
    )
    present = COUNTS[0] > 0
    share = (inverse_frequency(COUNTS)[0] * COUNTS[0])[present]
    torch.testing.assert_close(share, share[0].expand_as(share))
    assert inverse_frequency(COUNTS)[0][present].mean() == pytest.approx(1)


# Each loss


def test_class_balanced_is_the_weighted_cross_entropy_of_torch():
    features, logits, _, classes, group = batch()
    value = ClassBalanced(COUNTS, 0.9)(features, logits, one_hot(classes, 7), classes, group, 0.0)
    weights = effective_number(COUNTS, 0.9)
    expected = torch.cat(
        [
            F.cross_entropy(logits[group == key], classes[group == key], weights[key], reduction="none")
            for key in (0, 1)
        ]
    )
    torch.testing.assert_close(value.total, expected.mean())
    torch.testing.assert_close(value.class_weights, weights.mean(0))


def test_focal_of_two_classes_is_that_of_torchvision():
    x = torch.linspace(-4, 4, 9, requires_grad=True)
    classes = torch.arange(9) % 2
    logits = torch.stack([torch.zeros_like(x), x], dim=1)
    found = FocalLoss(2.0)(x[:, None], logits, one_hot(classes, 2), classes, classes * 0, 0.0).total
    expected = sigmoid_focal_loss(x, classes.float(), alpha=-1, gamma=2.0, reduction="mean")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, x), torch.autograd.grad(expected, x))


def test_focal_goes_column_by_column_and_is_cross_entropy_without_gamma():
    p = torch.tensor([[0.5, 0.25, 0.25]])
    target, zero = torch.tensor([[0.75, 0.25, 0.0]]), torch.tensor([0])
    found = FocalLoss(1.0)(p, p.log(), target, zero, zero, 0.0).total
    expected = -(0.75 * 0.5 * np.log(0.5) + 0.25 * 0.75 * np.log(0.25))
    assert found.item() == pytest.approx(expected)
    torch.testing.assert_close(FocalLoss(0.0)(*batch(), 0.0).total, CrossEntropy()(*batch(), 0.0).total)


def test_weighted_cluster_worked_by_hand():
    """Centres (0, 0) and (3, 4): 25 apart. Counts 1 and 3: weights 1.5 and 0.5."""
    loss = WeightedCluster(torch.tensor([[1, 3]]), width=2, weight=0.1)
    with torch.no_grad():
        loss.centres.copy_(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    features = torch.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True)
    classes = torch.tensor([0, 1])
    value = loss(features, torch.zeros(2, 2), one_hot(classes, 2), classes, classes * 0, 0.0)
    softmax_part = (1.5 + 0.5) / 2 * np.log(2)
    cluster_part = (1.5 * 5 / 26 + 0.5 * 1 / 26) / 2 / 2
    assert value.total.item() == pytest.approx(softmax_part + 0.1 * cluster_part)
    value.total.backward()
    pull = 0.1 * 1.5 * torch.tensor([1.0, 2.0]) / 26 / 2
    torch.testing.assert_close(features.grad[0], pull)


def test_weighted_cluster_moves_centres_to_their_classes_and_apart():
    torch.manual_seed(0)
    loss = WeightedCluster(torch.tensor([[20, 20]]), width=2, weight=1.0)
    classes = torch.arange(40) % 2
    features = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])[classes] + 0.1 * torch.randn(40, 2)
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.5)
    apart = [(loss.centres[0] - loss.centres[1]).norm().item()]
    for _ in range(300):
        optimizer.zero_grad()
        loss(features, torch.zeros(40, 2), one_hot(classes, 2), classes, classes * 0, 0.0).total.backward()
        optimizer.step()
    apart.append((loss.centres[0] - loss.centres[1]).norm().item())
    torch.testing.assert_close(loss.centres.detach()[:, 0], torch.tensor([2.0, -2.0]), atol=0.3, rtol=0)
    assert apart[1] > apart[0]


# All losses


def perfect(logits: Tensor, classes: Tensor) -> Tensor:
    return 1e4 * one_hot(classes, 7)


CORNERS = {
    "an emotion that the batch has not": lambda x, s, t, y, g: (x, s, t, y.clamp(max=3), g),
    "one emotion only": lambda x, s, t, y, g: (x, s, one_hot(y * 0, 7), y * 0, g),
    "an emotion that train has not": lambda x, s, t, y, g: (x, s, one_hot(y * 0 + 2, 7), y * 0 + 2, g * 0),
    "all right": lambda x, s, t, y, g: (x, perfect(s, y), one_hot(y, 7), y, g),
    "all wrong": lambda x, s, t, y, g: (x, -perfect(s, y), one_hot(y, 7), y, g),
    "a group that the batch has not": lambda x, s, t, y, g: (x, s, t, y, g * 0 + 1),
    "one sample": lambda x, s, t, y, g: (x[:1], s[:1], t[:1], y[:1], g[:1]),
    "features all alike": lambda x, s, t, y, g: (x * 0, s, t, y, g),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("name", EMOTION_LOSSES)
def test_corners_are_finite_and_so_are_their_gradients(name, corner, dtype):
    features, logits, target, classes, group = CORNERS[corner](*batch())
    features = features.to(dtype).requires_grad_()
    logits = logits.to(dtype).requires_grad_()
    value = build(name)(features, logits, target, classes, group, 0.5)
    assert value.total.dtype == torch.float32
    exact = build(name)(features.float(), logits.float(), target, classes, group, 0.5)
    torch.testing.assert_close(value.total, exact.total)
    assert torch.isfinite(value.total)
    assert value.total >= 0
    assert value.class_weights is None or (
        torch.isfinite(value.class_weights).all() and not value.class_weights.requires_grad
    )
    value.total.backward()
    assert torch.isfinite(logits.grad).all()
    assert features.grad is None or torch.isfinite(features.grad).all()


@pytest.mark.parametrize("name", EMOTION_LOSSES)
def test_equal_shards_average_to_the_whole(name, monkeypatch):
    """What the processes of a training rely on: each has half, and the counts of both."""
    loss, whole = build(name), batch()
    expected = loss(*whole, 0.5).total
    _, logits, _, classes, group = whole
    counts = torch.stack(ace.class_counts(classes, logits.argmax(-1) == classes, group, (2, 7)))
    monkeypatch.setattr(ace, "sum_over_processes", lambda own: counts)
    halves = [loss(*(part[rows] for part in whole), 0.5).total for rows in (slice(0, 12), slice(12, 24))]
    torch.testing.assert_close(sum(halves) / 2, expected)


@pytest.mark.parametrize("name", EMOTION_LOSSES)
def test_one_group_is_a_group_like_any_other(name):
    alone = build(name, COUNTS[:1])
    both = build(name)
    features, logits, target, classes, group = batch()
    values = [loss(features, logits, target, classes, group * 0, 0.5).total for loss in (alone, both)]
    torch.testing.assert_close(*values)


@pytest.mark.parametrize("name", EMOTION_LOSSES)
def test_nothing_waits_for_the_device(name):
    """A tensor on the meta device has no values: whatever would read one on the host raises."""
    loss = build(name).to("meta")
    features, logits, target, classes, group = (part.to("meta") for part in batch())
    logits.requires_grad_()
    loss(features, logits, target, classes, group, 0.5).total.backward()
    assert logits.grad.is_meta
