"""The ways to learn from several datasets: closed forms, trusted libraries, and what each must bear."""

import functools
from unittest import mock

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.nn import functional as F

from crossface.model.config import POOLED_HEAD
from crossface.train.config import AdversaryConfig, LabelExtractorConfig, TrainConfig
from crossface.train.losses import EMOTION_LOSSES
from crossface.train.losses.class_weights import inverse_frequency
from crossface.train.methods import METHODS, Task, build_method, cda
from crossface.train.methods.adversary import DatasetAdversary
from crossface.train.methods.coral import coral_loss

WIDTH = 16
COUNTS = torch.tensor([[40, 3, 0, 90, 7, 12, 60], [5, 5, 5, 500, 5, 9, 5], [1, 2, 3, 4, 5, 6, 7]])
VARIANTS = [*METHODS, "cda per dataset"]


def build(variant, datasets=3, **changes):
    """A method without dropout, so that its loss is a function of the batch, and hardly warmed up."""
    torch.manual_seed(0)
    kind = "per_dataset" if variant == "cda per dataset" else "shared"
    values = {
        "adapt": variant.split()[0],
        "loss": "ce",
        "adversary": AdversaryConfig(loss="ce"),
        "label_extractor": LabelExtractorConfig(kind=kind, dropout=0.0),
    }
    task = Task(("a", "b", "c")[:datasets], COUNTS[:datasets])
    with mock.patch.object(cda, "_WARM_START_STEPS", 5):
        return build_method(TrainConfig(**{**values, **changes}), task, WIDTH)


def batch(n=24, heads=3, datasets=3, seed=0):
    """Features, head logits, emotions, datasets."""
    random = torch.Generator().manual_seed(seed)
    emotion = torch.randint(0, 7, (n,), generator=random)
    return (
        torch.randn(n, WIDTH, generator=random),
        torch.randn(heads, n, 7, generator=random),
        emotion,
        torch.arange(n) % datasets,
    )


def heads_of(variant, datasets=3):
    return len(METHODS[variant.split()[0]].heads(("a", "b", "c")[:datasets]))


# What each minimises


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_pooled_is_the_cross_entropy_of_torch(smoothing):
    features, logits, emotion, dataset = batch(heads=1)
    step = build("none", label_smoothing=smoothing)(features, logits, emotion, dataset, 0.5)
    expected = F.cross_entropy(logits[0], emotion, label_smoothing=smoothing)
    torch.testing.assert_close(step.total, expected)
    assert step.parts.keys() == {"loss_emotion"}
    assert METHODS["none"].heads(("a", "b")) == (POOLED_HEAD,)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_heads_is_the_cross_entropy_of_each_sample_under_its_own_head(smoothing):
    features, logits, emotion, dataset = batch()
    logits.requires_grad_()
    step = build("heads", label_smoothing=smoothing)(features, logits, emotion, dataset, 0.5)
    own = torch.stack([logits[z, row] for row, z in enumerate(dataset.tolist())])
    torch.testing.assert_close(step.total, F.cross_entropy(own, emotion, label_smoothing=smoothing))
    step.total.backward()
    for head in range(3):
        assert (logits.grad[head, dataset != head] == 0).all()
        assert (logits.grad[head, dataset == head] != 0).any()


def test_pooled_weighs_by_the_counts_of_all_datasets_heads_by_those_of_each():
    pooled, heads = (build(name, loss="class_balanced").emotion_loss.weights for name in ("none", "heads"))
    assert pooled.shape == (1, 7)
    assert heads.shape == (3, 7)
    assert heads[0, 2] == 1  # which dataset a never shows
    assert pooled[0, 2] != 1


def test_smoothing_goes_onto_the_pseudo_label():
    method = build("cda", label_smoothing=0.3)
    features, logits, emotion, dataset = batch()
    pseudo = torch.tensor(method.describe()["label_extractor"])[emotion]
    own = logits[dataset, torch.arange(24)]
    expected = F.cross_entropy(own, 0.7 * pseudo + 0.3 / 7)
    found = method(features, logits, emotion, dataset, 0.5).parts["loss_emotion"]
    torch.testing.assert_close(found, expected)


def covariances(features, dataset, keys):
    return [np.cov(features[dataset == key].numpy(), rowvar=False) for key in keys]


def test_coral_is_the_distance_of_numpys_covariances():
    features, _, _, dataset = batch()
    features = features * torch.tensor([1.0, 2.0, 0.5])[dataset, None] + 100
    a, b, c = covariances(features, dataset, range(3))
    distances = [((x - y) ** 2).sum() for x, y in ((a, b), (a, c), (b, c))]
    expected = np.mean(distances) / (4 * WIDTH**2)
    assert coral_loss(features, dataset, 3).item() == pytest.approx(expected, rel=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert coral_loss(features, dataset, 3).item() == pytest.approx(expected, rel=1e-4)


def test_coral_leaves_out_a_dataset_with_one_sample_and_one_with_none():
    features, _, _, dataset = batch()
    dataset = torch.where(torch.arange(24) == 5, 2, dataset % 2)  # one sample of 2; none of 3
    features.requires_grad_()
    loss = coral_loss(features, dataset, 4)
    a, b = covariances(features.detach(), dataset, (0, 1))
    assert loss.item() == pytest.approx(((a - b) ** 2).sum() / (4 * WIDTH**2), rel=1e-4)
    loss.backward()
    assert (features.grad[5] == 0).all()
    assert coral_loss(features, dataset * 0, 4) == 0


def test_coral_counts_as_much_as_it_is_told():
    plain, weighted = build("coral"), build("coral", coral={"weight": 3.0})
    one, three = (method(*batch(heads=1), 0.5) for method in (plain, weighted))
    torch.testing.assert_close(three.total - one.total, 2 * one.parts["loss_coral"])
    torch.testing.assert_close(one.parts["loss_coral"], three.parts["loss_coral"])


@pytest.mark.parametrize("loss", ["ce", "ace"])
def test_the_adversary_on_one_dataset_has_nothing_to_learn(loss):
    adversary = DatasetAdversary(AdversaryConfig(loss=loss, smoothing=0.1), WIDTH, 1)
    features, _, _, dataset = batch(datasets=1)
    value, parts = adversary(features, dataset, 0.5)
    assert value.item() == 0
    assert parts["dataset_accuracy"] == 1


def test_the_adversary_smooths_and_reports():
    torch.manual_seed(0)
    adversary = DatasetAdversary(AdversaryConfig(loss="ce", smoothing=0.1, lambda_max=0.4), WIDTH, 3)
    features, _, _, dataset = batch()
    value, parts = adversary(features, dataset, 0.5)
    logits = adversary.classifier(features)
    torch.testing.assert_close(value, F.cross_entropy(logits, dataset, label_smoothing=0.1))
    assert parts["dataset_accuracy"].item() == pytest.approx(
        (logits.argmax(1) == dataset).float().mean().item()
    )
    assert parts["lambda"].item() == pytest.approx(0.2)


def test_normalised_features_tell_the_adversary_nothing_by_their_scale():
    adversary = DatasetAdversary(AdversaryConfig(loss="ce", normalize=True), WIDTH, 3)
    features, _, _, dataset = batch()
    torch.testing.assert_close(
        adversary(features, dataset, 0.0)[0], adversary(features * 50, dataset, 0.0)[0], rtol=1e-3, atol=1e-4
    )


# The label extractor


def test_balanced_label_loss_weighs_by_how_rare_an_emotion_is():
    plain, balanced = (
        build("cda", label_extractor=LabelExtractorConfig(dropout=0.0, balanced=flag))
        for flag in (False, True)
    )
    features, logits, emotion, dataset = batch()
    error = ((torch.tensor(plain.describe()["label_extractor"])[emotion] - F.one_hot(emotion, 7)) ** 2).mean(
        1
    )
    weights = inverse_frequency(COUNTS)[dataset, emotion]
    for method, expected in ((plain, error.mean()), (balanced, (weights * error).mean())):
        found = method(features, logits, emotion, dataset, 0.5).parts["loss_label"]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_a_label_extractor_that_sees_the_dataset_learns_a_habit_of_one_dataset():
    """Dataset b calls class 0 what the others call class 1; the shared table could not say so."""
    method = build("cda per dataset")
    emotion, dataset = method._every_label()
    optimizer = torch.optim.Adam(method.label_extractor.parameters(), lr=1e-3)
    habit = torch.where((dataset == 1) & (emotion == 1), 0, emotion)
    for _ in range(100):
        optimizer.zero_grad()
        F.nll_loss(method._pseudo_labels(emotion, dataset).log(), habit).backward()
        optimizer.step()
    tables = {name: torch.tensor(table).argmax(1).tolist() for name, table in method.describe().items()}
    assert tables == {
        "label_extractor/a": [0, 1, 2, 3, 4, 5, 6],
        "label_extractor/b": [0, 0, 2, 3, 4, 5, 6],
        "label_extractor/c": [0, 1, 2, 3, 4, 5, 6],
    }


def test_describe_is_without_dropout_and_leaves_the_mode_as_it_was():
    method = build("cda", label_extractor=LabelExtractorConfig(dropout=0.9)).train()
    assert method.describe() == method.describe()
    assert method.label_extractor.training
    np.testing.assert_allclose(np.sum(method.describe()["label_extractor"], axis=1), 1, atol=1e-5)
    assert build("heads").describe() == {}


# Every method

PARTS = {
    "none": set(),
    "heads": set(),
    "dann": {"loss_dataset", "dataset_accuracy", "lambda"},
    "coral": {"loss_coral"},
    "cda": {"loss_label", "loss_dataset", "dataset_accuracy", "lambda"},
}


@pytest.mark.parametrize("datasets", [1, 3])
@pytest.mark.parametrize("loss", EMOTION_LOSSES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_trains_in_bf16_with_any_loss_on_one_dataset_or_three(variant, loss, datasets):
    method = build(variant, datasets, loss=loss, adversary=AdversaryConfig(loss="ace"))
    f, head_count = nn.Linear(5, WIDTH), heads_of(variant, datasets)
    heads = nn.ModuleList(nn.Linear(WIDTH, 7) for _ in range(head_count))
    _, _, emotion, dataset = batch(datasets=datasets)
    emotion = emotion.clamp(max=4)  # and two emotions absent
    with torch.autocast("cpu", torch.bfloat16):
        features = f(torch.randn(24, 5))
        step = method(features, torch.stack([head(features) for head in heads]), emotion, dataset, 0.5)
    assert step.total.shape == ()
    assert step.total.dtype == torch.float32
    assert step.parts.keys() - {"class_weight"} == {"loss_emotion", *PARTS[variant.split()[0]]}
    for name, value in step.parts.items():
        assert torch.isfinite(value).all()
        assert not value.requires_grad
        assert value.shape == ((7,) if name == "class_weight" else ())
    assert ("class_weight" in step.parts) == (loss in {"ace", "class_balanced", "weighted_cluster"})
    step.total.backward()
    for name, parameter in nn.ModuleList([f, heads, method]).named_parameters():
        assert parameter.grad is not None, f"{name} takes no part"
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_waits_for_the_device(variant):
    """A fake tensor has no values: whatever would read one on the host raises."""
    method, mode = build(variant, loss="ace", adversary=AdversaryConfig(loss="ace")), FakeTensorMode()
    state = {
        name: mode.from_tensor(tensor)
        for name, tensor in [*method.named_parameters(), *method.named_buffers()]
    }
    inputs = [mode.from_tensor(part) for part in batch(heads=heads_of(variant))]
    with mode:
        step = torch.func.functional_call(method, state, (*inputs, 0.5))
    assert all(isinstance(part, FakeTensor) for part in [step.total, *step.parts.values()])


def gradients_of(variant, rows, processes):
    """Gradients and history of one step on some rows of a batch, averaged over the processes as DDP does."""
    method = build(variant, loss="ace", adversary=AdversaryConfig(loss="ace", lambda_max=0.7))
    torch.manual_seed(1)
    f, heads = nn.Linear(5, WIDTH), nn.ModuleList(nn.Linear(WIDTH, 7) for _ in range(heads_of(variant)))
    x, (_, _, emotion, dataset) = torch.randn(24, 5)[rows], batch()
    features = f(x)
    logits = torch.stack([head(features) for head in heads])
    step = method(features, logits, emotion[rows], dataset[rows], 0.8)
    step.total.backward()
    found = {name: p.grad for name, p in nn.ModuleList([f, heads, method]).named_parameters()}
    if processes > 1:
        for gradient in found.values():
            dist.all_reduce(gradient)
            gradient /= processes
    return found, step.parts


def one_of_two(rank, store):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    for variant in VARIANTS:
        half = slice(rank * 12, rank * 12 + 12)
        shared, parts = gradients_of(variant, half, processes=2)
        if rank == 0:
            torch.save((shared, parts), f"{store}.{variant}")
    dist.destroy_process_group()


def test_two_processes_with_half_a_batch_each_are_one_with_all_of_it(tmp_path):
    """ACE's counts, CORAL's covariances and d's accuracy must be those of the whole batch."""
    store = tmp_path / "store"
    torch.multiprocessing.start_processes(one_of_two, args=(store,), nprocs=2, start_method="spawn")
    for variant in VARIANTS:
        shared, parts = torch.load(f"{store}.{variant}", weights_only=True)
        expected, expected_parts = gradients_of(variant, slice(None), processes=1)
        for name, gradient in expected.items():
            torch.testing.assert_close(shared[name], gradient, msg=functools.partial(_where, variant, name))
        for name in {"dataset_accuracy", "class_weight", "loss_coral"} & parts.keys():
            torch.testing.assert_close(parts[name], expected_parts[name])


def _where(variant, name, message):
    return f"{variant}, {name}: {message}"
