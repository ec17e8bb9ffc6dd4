"""Batches: who is in them, and what augmentation does to them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossface.model.augment import Augmentation
from crossface.model.config import AugmentationConfig
from crossface.train.sampling import BatchSampler

SIZE = 20


def batches(dataset, batch_size, sampling, seed, steps):
    sampler = BatchSampler(dataset, batch_size, sampling, seed)
    return [sampler.batch(step) for step in range(steps)]


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    batch_size=st.integers(4, 24),
    seed=st.integers(0, 9),
)
def test_balanced_batches_have_equal_shares_and_use_every_sample_before_any_again(sizes, batch_size, seed):
    dataset = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    drawn = batches(dataset, batch_size, "balanced", seed, steps=9)
    for batch in drawn:
        shares = torch.bincount(dataset[batch], minlength=len(sizes))
        assert len(batch) == batch_size
        assert shares.max() - shares.min() <= 1
    seen = torch.bincount(torch.cat(drawn), minlength=len(dataset))
    for key in range(len(sizes)):
        times = seen[dataset == key]
        assert times.max() - times.min() <= 1


@given(
    size=st.integers(1, 60),
    batch_size=st.integers(1, 24),
    steps=st.integers(1, 9),
    sampling=st.sampled_from(["balanced", "natural"]),
)
def test_any_step_can_come_first(size, batch_size, steps, sampling):
    """A resumed training sees the batches that it would have seen."""
    dataset = torch.arange(size) % 2 * int(size > 1)
    drawn = batches(dataset, batch_size, sampling, seed=3, steps=steps)
    late = BatchSampler(dataset, batch_size, sampling, 3).batch(steps - 1)
    assert torch.equal(late, drawn[-1])


def test_natural_batches_go_through_everything_in_a_new_order_each_time():
    dataset = torch.tensor([0] * 90 + [1] * 13)
    drawn = torch.cat(batches(dataset, 10, "natural", seed=1, steps=21))
    first, second = drawn[:103], drawn[103:206]
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(103))
    assert first.tolist() != second.tolist() != list(range(103))


def augmented(images, **changes):
    config = AugmentationConfig(**{"shift": 0, "flip": False, **changes})
    augment = Augmentation(config, SIZE)
    rows = torch.arange(len(images))
    return augment(images, rows, augment.draw(len(images), torch.Generator().manual_seed(0)))


def store(image, count=64):
    """Copies of one image, laid out as in the store."""
    return (
        image.to(torch.uint8).permute(1, 2, 0).expand(count, SIZE, SIZE, 3).contiguous().permute(0, 3, 1, 2)
    )


def test_without_augmentation_the_asked_images_come_as_they_are():
    images = torch.randint(0, 256, (9, SIZE, SIZE, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    rows = torch.tensor([7, 0, 7, 3])
    augment = Augmentation(AugmentationConfig(shift=0, flip=False), SIZE)
    out = augment(images, rows, augment.draw(4, torch.Generator()))
    assert torch.equal(out, images[rows])
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_shift_and_flip_move_whole_images():
    # the red channel holds the column, the green one the row: shift and flip can be read off each image
    ramp = torch.arange(SIZE)
    image = torch.stack([ramp.expand(SIZE, SIZE), ramp[:, None].expand(SIZE, SIZE), torch.zeros(SIZE, SIZE)])
    out = augmented(store(image), shift=0.1, flip=True)
    flips, shifts = [], set()
    for columns, rows in zip(out[:, 0].numpy().astype(int), out[:, 1].numpy().astype(int), strict=True):
        assert (columns == columns[0]).all()
        assert (rows[:, 0] == rows.T).all()
        line = columns[0]
        flips.append(line[0] > line[-1])
        offset = (line[::-1] if flips[-1] else line)[SIZE // 2] - SIZE // 2
        assert np.array_equal(
            line[::-1] if flips[-1] else line, np.clip(np.arange(SIZE) + offset, 0, SIZE - 1)
        )
        shifts.add(int(offset))
        shifts.add(int(rows[SIZE // 2, 0]) - SIZE // 2)
    assert 16 < sum(flips) < 48
    assert shifts == {-2, -1, 0, 1, 2}


def test_colour_changes_the_whole_face_alike_and_no_more_than_asked():
    image = torch.randint(60, 140, (3, SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    out = augmented(store(image), colour=0.2).float()
    luma = torch.einsum("nchw,c->nhw", out, torch.tensor([0.299, 0.587, 0.114])).mean((1, 2))
    before = torch.einsum("chw,c->hw", image.float(), torch.tensor([0.299, 0.587, 0.114])).mean()
    factors = luma / before
    assert 0.79 < factors.min() < 0.85
    assert 1.15 < factors.max() < 1.21
    # an affine change of each pixel keeps the order of a channel's values within an equal luma
    grey = store(torch.full((3, SIZE, SIZE), 100))
    flat = augmented(grey, colour=0.2)
    assert (flat.flatten(1).max(1).values - flat.flatten(1).min(1).values).max() <= 1


def test_erasing_greys_one_rectangle_of_the_asked_share_of_the_faces():
    out = augmented(store(torch.zeros(3, SIZE, SIZE), count=400), erasing=0.5)
    grey = (out == 128).all(1)
    assert ((out == 0) | (out == 128)).all()
    erased = grey.flatten(1).any(1)
    assert 0.42 < erased.float().mean() < 0.58
    for mask in grey[erased]:
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.all()
        assert 0.005 < mask.float().mean() < 0.42


@pytest.mark.parametrize("seed", [0, 2**63, -1])
def test_any_seed_will_do(seed):
    assert len(BatchSampler(torch.zeros(5, dtype=torch.int64), 3, "natural", seed).batch(0)) == 3
