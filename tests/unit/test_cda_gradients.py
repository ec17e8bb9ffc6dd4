"""Which gradient reaches what (equations 4 to 7): each group of parameters, each part of the loss alone."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from crossface.model.networks import EmotionClassifier
from crossface.train.config import AdversaryConfig, LabelExtractorConfig, TrainConfig
from crossface.train.methods import Task, build_method
from crossface.train.methods.base import own_logits

LAMBDA_FEATURES, LAMBDA_LABELS, PROGRESS = 0.8, 0.6, 0.5
DATASETS = ("a", "b", "c")


TASK = Task(DATASETS, torch.ones(3, 7, dtype=torch.int64))


def build(adapt, heads, kind="shared"):
    """A tiny f, heads, the method, and a batch."""
    torch.manual_seed(0)
    config = TrainConfig(
        adapt=adapt,
        loss="ce",
        adversary=AdversaryConfig(lambda_max=LAMBDA_FEATURES, loss="ce"),
        label_extractor=LabelExtractorConfig(kind=kind, lambda_max=LAMBDA_LABELS, dropout=0.0),
    )
    f = nn.Linear(5, 16)
    classifiers = nn.ModuleList(EmotionClassifier(16) for _ in range(heads))
    method = build_method(config, TASK, 16)
    x, y, z = torch.randn(12, 5), torch.randint(0, 7, (12,)), torch.tensor([0, 1, 2] * 4)
    return f, classifiers, method, x, y, z


@pytest.fixture(params=["shared", "per_dataset"], scope="module")
def parts(request):
    return build("cda", heads=3, kind=request.param)


def losses_apart(f, heads, method, x, y, z):
    """L_e, L_2 and L_d straight from the equations, without any reversal."""
    features = f(x)
    truth = F.one_hot(y, 7).float()
    known = torch.cat([truth, F.one_hot(z, 3).float()], dim=1) if method.per_dataset else truth
    pseudo = method.label_extractor(known).softmax(-1)
    logits = own_logits(torch.stack([head(features) for head in heads]), z)
    emotion = -(pseudo.detach() * logits.log_softmax(-1)).sum(-1).mean()
    label = ((pseudo - truth) ** 2).mean()
    dataset = F.cross_entropy(method.adversary.classifier(features, pseudo), z)
    return emotion, label, dataset


def gradients(loss, module):
    found = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, module.parameters(), strict=True)]


def method_gradients(parts, module):
    f, heads, method, x, y, z = parts
    features = f(x)
    loss = method(features, torch.stack([head(features) for head in heads]), y, z, PROGRESS)
    return gradients(loss.total, module)


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-7)
    assert any(b.abs().max() > 1e-6 for b in expected), "nothing was compared"


def test_theta_f_receives_emotion_minus_lambda_1_dataset(parts):
    f = parts[0]
    emotion, _, dataset = losses_apart(*parts)
    expected = [
        e - PROGRESS * LAMBDA_FEATURES * d
        for e, d in zip(gradients(emotion, f), gradients(dataset, f), strict=True)
    ]
    assert_same(method_gradients(parts, f), expected)


def test_theta_g_receives_label_minus_lambda_2_dataset_and_nothing_of_emotion(parts):
    g = parts[2].label_extractor
    _, label, dataset = losses_apart(*parts)
    expected = [
        a - PROGRESS * LAMBDA_LABELS * d
        for a, d in zip(gradients(label, g), gradients(dataset, g), strict=True)
    ]
    assert_same(method_gradients(parts, g), expected)


def test_theta_e_receives_emotion_of_its_own_dataset_only(parts):
    f, heads, method, x, y, z = parts
    emotion, *_ = losses_apart(*parts)
    for key, head in enumerate(heads):
        assert_same(method_gradients(parts, head), gradients(emotion, head))
        only_others = z != key
        features = f(x[only_others])
        logits = torch.stack([other(features) for other in heads])
        loss = method(features, logits, y[only_others], z[only_others], PROGRESS)
        assert all((g == 0).all() for g in gradients(loss.total, head))


def test_theta_d_receives_dataset_not_scaled_by_lambda(parts):
    *_, dataset = losses_apart(*parts)
    d = parts[2].adversary.classifier
    assert_same(method_gradients(parts, d), gradients(dataset, d))


def test_without_lambda_f_receives_emotion_alone(parts):
    """At the start of training the reversal is off; half way it is half as strong as at the end."""
    f, heads, method, x, y, z = parts
    emotion, _, dataset = losses_apart(*parts)
    for progress in (0.0, 0.5, 1.0):
        features = f(x)
        loss = method(features, torch.stack([head(features) for head in heads]), y, z, progress)
        expected = [
            e - progress * LAMBDA_FEATURES * d
            for e, d in zip(gradients(emotion, f), gradients(dataset, f), strict=True)
        ]
        assert_same(gradients(loss.total, f), expected)


def test_dann_theta_f_receives_emotion_minus_lambda_dataset_and_theta_d_all_of_it():
    parts = f, heads, method, x, y, z = build("dann", heads=1)
    features = f(x)
    emotion = F.cross_entropy(heads[0](features), y)
    dataset = F.cross_entropy(method.adversary.classifier(features), z)
    expected = [
        e - PROGRESS * LAMBDA_FEATURES * d
        for e, d in zip(gradients(emotion, f), gradients(dataset, f), strict=True)
    ]
    assert_same(method_gradients(parts, f), expected)
    assert_same(method_gradients(parts, heads), gradients(emotion, heads))
    d = method.adversary.classifier
    assert_same(method_gradients(parts, d), gradients(dataset, d))


def test_warm_start_makes_g_the_identity_but_leaves_it_able_to_move(parts):
    for table in parts[2].describe().values():
        table = torch.tensor(table)
        assert table.argmax(1).tolist() == list(range(7))
        assert 0.8 < table.diagonal().min() <= table.diagonal().max() < 0.99
