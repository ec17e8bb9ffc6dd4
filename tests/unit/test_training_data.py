"""Batches: who is in them, and what augmentation does to them."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossface.train.augment import augment
from crossface.train.sampling import epoch_batches


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    batch_size=st.integers(4, 24),
    seed=st.integers(0, 9),
)
def test_balanced_batches_have_equal_shares_and_use_every_sample_before_any_again(sizes, batch_size, seed):
    dataset = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    batches = list(epoch_batches(dataset, batch_size, "balanced", torch.Generator().manual_seed(seed)))
    for batch in batches:
        shares = torch.bincount(dataset[batch], minlength=len(sizes))
        assert len(batch) == batch_size
        assert shares.max() - shares.min() <= 1
    seen = torch.bincount(torch.cat(batches), minlength=len(dataset))
    for key in range(len(sizes)):
        times = seen[dataset == key]
        assert times.max() - times.min() <= 1


def test_natural_batches_draw_each_sample_at_most_once():
    dataset = torch.tensor([0] * 90 + [1] * 13)
    drawn = torch.cat(list(epoch_batches(dataset, 10, "natural", torch.Generator().manual_seed(1))))
    assert len(drawn) == 100
    assert len(drawn.unique()) == 100


def test_augmentation_shifts_and_flips_whole_images():
    # the red channel holds the column, the green one the row: shift and flip can be read off each image
    size = 20
    ramp = torch.arange(size, dtype=torch.uint8)
    image = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size), torch.zeros(size, size)])
    images = image.to(torch.uint8).expand(64, 3, size, size).contiguous()
    out = augment(images, torch.Generator().manual_seed(0))
    assert out.shape == images.shape
    assert out.is_contiguous(memory_format=torch.channels_last)
    flips, shifts = [], set()
    for columns, rows in zip(out[:, 0].numpy().astype(int), out[:, 1].numpy().astype(int), strict=True):
        assert (columns == columns[0]).all()
        assert (rows[:, 0] == rows.T).all()
        line = columns[0]
        flips.append(line[0] > line[-1])
        offset = (line[::-1] if flips[-1] else line)[size // 2] - size // 2
        assert np.array_equal(
            line[::-1] if flips[-1] else line, np.clip(np.arange(size) + offset, 0, size - 1)
        )
        shifts.add(int(offset))
    assert 16 < sum(flips) < 48
    assert shifts == {-2, -1, 0, 1, 2}
