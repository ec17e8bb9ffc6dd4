"""find_leakage: planted copies among different pictures, and what becomes of them."""

import io
import json
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import gaussian_filter

from crossface.cropping.capture import perceptual_hashes
from crossface.data.crops import ShardWriter
from crossface.data.leakage import DROPPED_SCHEMA, PAIR_SCHEMA, dropped_faces
from crossface.errors import ConfigError, DataError
from crossface.find_leakage.__main__ import main
from crossface.find_leakage.config import LeakageConfig
from crossface.find_leakage.find import find_leakage
from crossface.find_leakage.neighbours import Neighbours, near_hashes, nearest
from crossface.find_leakage.registration import SIDE, _points, _register, _warp, correlations

REAL_FACES = os.environ.get("CROSSFACE_REAL_FACES")
DEFAULTS = LeakageConfig()
KEEP = LeakageConfig(policy="keep")


@cache
def picture(seed: int) -> Image.Image:
    """A photo of 200 x 200 px with detail at every scale, different for every seed."""
    rng = np.random.default_rng(seed)
    bands = [gaussian_filter(rng.standard_normal((100, 100, 3)), (s, s, 0)) * s for s in (1, 3, 6, 12)]
    return Image.fromarray((128 + 110 * sum(bands)).clip(0, 255).astype(np.uint8)).resize((200, 200))


def crop(photo: Image.Image, shift: float = 0, scale: float = 1, size: int = 64) -> Image.Image:
    """A crop of the middle; shift and scale are shares of its side."""
    side = 120 * scale
    left = 100 - side / 2 + 120 * shift
    return square(photo, left, left, side, size)


def square(photo: Image.Image, left: float, top: float, side: float, size: int) -> Image.Image:
    return photo.resize((size, size), Image.Resampling.LANCZOS, (left, top, left + side, top + side))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


@dataclass(frozen=True)
class Planted:
    """One face of a dataset."""

    key: str
    split: str
    image: Image.Image
    emotion: int = 0
    group: str | None = None
    hashes: tuple[int, int] | None = None


def write(root: Path, dataset: str, faces: list[Planted]) -> Path:
    folder = root / dataset
    folder.mkdir(parents=True)
    writer = ShardWriter(folder)
    encoded: dict[int, tuple[bytes, tuple[int, int]]] = {}
    for face in faces:
        if id(face.image) not in encoded:
            buffer = io.BytesIO()
            face.image.save(buffer, "PNG")
            encoded[id(face.image)] = buffer.getvalue(), perceptual_hashes(face.image)
        data, hashes = encoded[id(face.image)]
        phash, phash_mirrored = face.hashes or hashes
        writer.write(
            {
                "face_id": f"{dataset}/{face.key}",
                "dataset": dataset,
                "split": face.split,
                "emotion": face.emotion,
                "image": {"bytes": data, "path": f"{face.key}.png"},
                "group": face.group or face.key,
                "phash": phash,
                "phash_mirrored": phash_mirrored,
            }
        )
    writer.close()
    return folder


def others(first: int, number: int = 12) -> list[Planted]:
    """Faces in all splits without any copy."""
    splits = ("train", "dev", "test")
    return [
        Planted(f"only{seed}", splits[seed % 3], crop(picture(seed))) for seed in range(first, first + number)
    ]


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> list[Path]:
    root = tmp_path_factory.mktemp("crops")
    photos = {name: picture(seed) for seed, name in enumerate("abcdef", start=1000)}
    red = [
        *others(0),
        Planted("a", "test", crop(photos["a"]), emotion=3),
        Planted("a_again", "train", jpeg(crop(photos["a"], scale=1.03), 60), emotion=4),  # other label
        Planted("b", "dev", crop(photos["b"])),
        Planted("c", "train", crop(photos["c"]), emotion=1),
        Planted("d", "train", crop(photos["d"]), group="one photo"),
        Planted("d_again", "train", crop(photos["d"], 0.02), group="one photo"),  # no leakage
        Planted("e", "train", crop(photos["e"]), emotion=2),
        Planted("e_again", "train", crop(photos["e"], 0.01), emotion=5),  # within a split
    ]
    blue = [
        *others(100),
        Planted("a", "dev", crop(photos["a"], scale=1.03), emotion=3),  # red's test: dev is dropped too
        Planted("b", "train", ImageOps.mirror(crop(photos["b"], -0.02))),  # mirrored, of red's dev
        Planted("c", "test", ImageEnhance.Brightness(crop(photos["c"], size=48)).enhance(0.8), emotion=1),
        Planted("f", "test", crop(photos["f"])),
    ]
    green = [*others(200), Planted("f", "test", ImageOps.grayscale(crop(photos["f"])))]  # no training sees it
    return [write(root, name, faces) for name, faces in (("red", red), ("blue", blue), ("green", green))]


@pytest.fixture(scope="module")
def found(crops, tmp_path_factory) -> tuple:
    out = tmp_path_factory.mktemp("out") / "leakage"
    summary = find_leakage(crops, DEFAULTS, out)
    return summary, out, pq.read_table(out / "pairs.parquet"), pq.read_table(out / "dropped.parquet")


def test_exactly_the_planted_copies_are_found(found):
    _, _, pairs, _ = found
    assert pairs.schema.equals(PAIR_SCHEMA)
    columns = ("face_id_a", "face_id_b", "kind", "mirrored", "labels_differ")
    rows = {tuple(row[name] for name in columns) for row in pairs.to_pylist()}
    assert rows == {
        ("red/a", "red/a_again", "across_splits", False, True),
        ("red/a", "blue/a", "across_datasets", False, False),
        ("blue/a", "red/a_again", "across_datasets", False, True),
        ("red/b", "blue/b", "across_datasets", True, False),
        ("blue/c", "red/c", "across_datasets", False, False),
        ("red/e", "red/e_again", "within_split", False, True),
        ("blue/f", "green/f", "across_datasets", False, False),
    }
    assert len(pairs) == len(rows)
    assert min(pairs["correlation"].to_pylist()) >= 0.95
    assert max(pairs["distance"].to_pylist()) <= 8


def test_training_leaves_out_what_it_may_not_see_and_nothing_else(found):
    summary, out, _, dropped = found
    assert dropped.schema.equals(DROPPED_SCHEMA)
    rows = {row["face_id"]: (row["reason"], row["twin_id"]) for row in dropped.to_pylist()}
    assert rows == {
        "red/a_again": ("twin_in_test", "red/a"),  # not blue/a, which is only dev
        "blue/a": ("twin_in_test", "red/a"),
        "red/c": ("twin_in_test", "blue/c"),
        "blue/b": ("twin_in_dev", "red/b"),
    }
    assert dropped_faces(out) == frozenset(rows)
    assert summary.metrics() == {
        "pairs_across_datasets": 5.0,
        "pairs_across_splits": 1.0,
        "pairs_within_split": 1.0,
        "labels_differ": 3.0,
        "leaking_twin_in_test": 3.0,
        "leaking_twin_in_dev": 1.0,
        "dropped": 4.0,
    }


def test_counts_are_those_of_the_tables(found):
    _, out, pairs, dropped = found
    counts = json.loads((out / "leakage.json").read_text())
    assert {kind: row["pairs"] for kind, row in counts["pairs"].items()} == {
        "across_datasets": 5,
        "across_splits": 1,
        "within_split": 1,
    }
    assert sum(row["mirrored"] for row in counts["pairs"].values()) == 1
    assert sum(row["labels_differ"] for row in counts["pairs"].values()) == 3
    assert sum(row["count"] for row in counts["between"]) == len(pairs)
    assert {"dataset": "red", "split": "train", "reason": "twin_in_test", "count": 2} in counts["leaking"]
    assert counts["dropped"] == len(dropped)
    assert sum(row["count"] for row in counts["faces"]) == 20 + 16 + 13


def test_same_crops_same_bytes(found, crops, tmp_path):
    find_leakage(crops, DEFAULTS, tmp_path / "again")
    for name in ("pairs.parquet", "dropped.parquet", "leakage.json"):
        assert (tmp_path / "again" / name).read_bytes() == (found[1] / name).read_bytes()


def test_policy_keep_reports_and_drops_nothing(crops, tmp_path):
    summary = find_leakage(crops, KEEP, tmp_path / "out")
    assert (summary.dropped, sum(summary.leaking.values())) == (0, 4)
    assert dropped_faces(tmp_path / "out") == frozenset()
    assert json.loads((tmp_path / "out" / "leakage.json").read_text())["dropped"] == 0


def test_policy_fail_names_the_numbers_and_a_pair_and_writes_nothing(crops, tmp_path):
    with pytest.raises(DataError, match=r"4 faces.*3 twin_in_test, 1 twin_in_dev.*red/a_again.*red/a "):
        find_leakage(crops, LeakageConfig(policy="fail"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    clean = find_leakage(crops[2:], LeakageConfig(policy="fail"), tmp_path / "out")
    assert clean.faces == 13


def test_a_split_that_would_be_left_empty_is_an_error(tmp_path):
    photo = picture(1)
    one = write(tmp_path, "one", [Planted("a", "test", crop(photo)), *others(10)])
    two = write(tmp_path, "two", [Planted("a", "train", crop(photo)), Planted("b", "dev", crop(picture(2)))])
    with pytest.raises(DataError, match="two: every face of split train \\(1\\)"):
        find_leakage([one, two], DEFAULTS, tmp_path / "out")
    assert find_leakage([one, two], KEEP, tmp_path / "out").dropped == 0


def test_broken_input_is_a_clear_error(crops, tmp_path):
    with pytest.raises(DataError, match=r"red/.*: 2 crops have this face_id"):
        find_leakage([crops[0], crops[0]], DEFAULTS, tmp_path / "out")
    with pytest.raises(DataError, match="no crops"):
        find_leakage([tmp_path], DEFAULTS, tmp_path / "out")
    with pytest.raises(DataError, match=r"no dropped\.parquet"):
        dropped_faces(tmp_path)
    with pytest.raises(ConfigError, match=r"leakage\.policy"):
        LeakageConfig.parse({"policy": "drop"}, "leakage")
    old = write(tmp_path, "old", [Planted("a", "test", crop(picture(1)), hashes=(1, None))])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="old/a: the crop has no phash_mirrored"):
        find_leakage([old], DEFAULTS, tmp_path / "out")


def test_one_hash_is_not_enough_to_be_a_copy(tmp_path):
    """Different pictures that happen to share both hashes, more of them than are compared."""
    faces = [Planted(f"same{n}", "train", crop(picture(n)), hashes=(5, 9)) for n in range(10)]
    folder = write(tmp_path, "one", [*faces, Planted("copy", "test", crop(picture(3), 0.01), hashes=(5, 9))])
    find_leakage([folder], DEFAULTS, tmp_path / "out")
    (pair,) = pq.read_table(tmp_path / "out" / "pairs.parquet").to_pylist()
    assert (pair["face_id_a"], pair["face_id_b"]) == ("one/copy", "one/same3")
    search = json.loads((tmp_path / "out" / "leakage.json").read_text())["search"]
    assert search["crops_not_compared"] == 11 - 1 - 8  # eight pictures are told apart


def test_faces_of_one_group_in_one_split_are_not_even_compared(tmp_path):
    frames = [Planted(f"f{n}", "train", crop(picture(1), n / 100), group="a video") for n in range(4)]
    folder = write(tmp_path, "one", [*frames, *others(40, 3)])
    summary = find_leakage([folder], DEFAULTS, tmp_path / "out")
    assert sum(summary.pairs.values()) == 0
    assert json.loads((tmp_path / "out" / "leakage.json").read_text())["search"]["candidates"] == 0


def test_ten_thousand_blank_crops_are_ten_thousand_pairs(tmp_path):
    white, grey = (Image.new("RGB", (48, 48), shade) for shade in ("white", "grey"))
    blank = [Planted(f"blank{n}", "train", white if n % 2 else grey) for n in range(10_000)]
    folder = write(tmp_path, "one", [*others(0, 6), *blank, Planted("blank", "test", white)])
    summary = find_leakage([folder], DEFAULTS, tmp_path / "out")
    assert sum(summary.pairs.values()) == summary.dropped == 10_000
    pairs = pq.read_table(tmp_path / "out" / "pairs.parquet")
    assert set(pairs["face_id_a"].to_pylist()) == {"one/blank"}


def test_copies_of_copies_are_paired_with_the_copy_nearest_to_test(tmp_path):
    """Three exact copies on one side and two on the other: each meets the other side's best protected one."""
    photo = picture(5)
    here, there = crop(photo), crop(photo, 0.01)
    distance = (perceptual_hashes(here)[0] ^ perceptual_hashes(there)[0]).bit_count()
    assert 0 < distance <= 8
    one = [Planted("t1", "train", here), Planted("t2", "train", here), Planted("d", "dev", here), *others(10)]
    two = [Planted(key, "test", there, group="one photo") for key in ("x", "y")]
    two.append(Planted("t", "train", there))
    folders = [write(tmp_path, "one", one), write(tmp_path, "two", [*two, *others(30)])]
    find_leakage(folders, DEFAULTS, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "pairs.parquet").to_pylist()
    assert {(row["face_id_a"], row["face_id_b"]) for row in rows} == {
        ("one/d", "one/t1"), ("one/d", "one/t2"), ("two/x", "two/t"),  # one hash
        ("two/x", "one/d"), ("two/x", "one/t1"), ("two/x", "one/t2"), ("one/d", "two/t"),
        ("two/y", "one/d"),
    }  # fmt: skip
    assert dropped_faces(tmp_path / "out") == {"one/t1", "one/t2", "one/d", "two/t"}


hashes_near_each_other = st.lists(
    st.builds(
        lambda base, bits: base ^ sum(1 << bit for bit in bits),
        st.sampled_from([0, 2**64 - 1, 0x9E3779B97F4A7C15]),
        st.sets(st.integers(0, 63), max_size=12),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(hashes_near_each_other, hashes_near_each_other, st.integers(0, 11))
def test_search_is_exact(queries, hashes, radius):
    found = [
        (int(q), int(i), int(d))
        for block in near_hashes(np.array(queries, np.uint64), np.array(hashes, np.uint64), radius)
        for q, i, d in zip(block.query, block.index, block.distance, strict=True)
    ]
    brute = {
        (q, i, (one ^ other).bit_count())
        for q, one in enumerate(queries)
        for i, other in enumerate(hashes)
        if (one ^ other).bit_count() <= radius
    }
    assert len(found) == len(set(found))
    assert set(found) == brute


@pytest.mark.parametrize("radius", range(12))
def test_search_finds_differences_that_are_spread_evenly(radius):
    """The hardest pair: every substring differs in as many bits as the others, or in one fewer."""
    spread = sum(1 << (bit % 3 * 21 + bit // 3) for bit in range(radius))
    (block,) = near_hashes(np.zeros(1, np.uint64), np.array([spread], np.uint64), radius)
    assert block.distance.tolist() == [radius]


def test_bound_keeps_the_best_protected_then_the_nearest():
    near = Neighbours(
        np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 0, 1]), np.array([1, 6, 2, 3, 5, 4])
    )
    kept, bounded = nearest(near, protection=np.array([0, 2, 0, 1]), most=2)
    assert list(zip(kept.query, kept.index, strict=True)) == [(0, 1), (0, 3), (1, 1), (1, 0)]
    assert bounded == 1


def test_registration_finds_a_known_transform():
    photo = np.asarray(picture(3).convert("L").resize((SIDE, SIDE)), np.float32)[None]
    photo = gaussian_filter(photo, (0, 1, 1))
    turn, shift = np.array([1.05 * np.exp(0.05j)], np.complex64), np.array([0.06 - 0.04j], np.complex64)
    template, _ = _warp(photo, turn, shift, _points(SIDE))
    found_turn, found_shift, correlation = _register(template, photo, 15)
    assert found_turn == pytest.approx(turn, abs=0.01)
    assert found_shift == pytest.approx(shift, abs=0.01)
    assert correlation[0] > 0.99


def small(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS))[None]


def test_correlation_of_copies_of_others_and_of_nothing():
    photo = picture(7)
    plain = crop(photo)
    copies = {
        "jpeg": jpeg(plain, 40),
        "half the size": crop(photo, size=32),
        "darker": ImageEnhance.Brightness(plain).enhance(0.6),
        "contrast": ImageEnhance.Contrast(plain).enhance(0.7),
        "grey": ImageOps.grayscale(plain),
        "shifted": crop(photo, 0.06),
        "wider": crop(photo, scale=1.1),
        "turned": crop(photo.rotate(4, Image.Resampling.BICUBIC)),
    }
    zero = np.zeros(1, int)
    for name, copy in copies.items():
        assert correlations(small(plain), small(copy), zero, zero)[0] >= 0.95, name
    assert correlations(small(plain), small(ImageOps.mirror(plain)), zero, zero)[0] < 0.5
    blank, white = np.full((1, SIDE, SIDE), 7, np.uint8), np.full((1, SIDE, SIDE), 255, np.uint8)
    assert correlations(blank, white, zero, zero)[0] == 1
    assert correlations(blank, small(plain), zero, zero)[0] == 0
    assert len(correlations(blank, white, zero[:0], zero[:0])) == 0
    pictures = np.concatenate([small(crop(picture(seed))) for seed in range(60)])
    one, other = np.triu_indices(60, 1)
    assert correlations(pictures, pictures, one, other).max() < 0.8


@pytest.mark.skipif(not REAL_FACES, reason="CROSSFACE_REAL_FACES names no folder of real photographs")
def test_real_faces_copies_are_found_and_different_people_are_not(tmp_path):
    def middle(photo: Image.Image, share: float, shift: float = 0.0) -> Image.Image:
        width, height = photo.size
        side = share * min(width, height)
        left, top = (width - side) / 2 + shift * side, (height - side) / 2 - shift * side
        return square(photo, left, top, side, 100)

    folders, planted = [], 0
    for source in sorted(path.parent for path in Path(str(REAL_FACES)).glob("*/legend.csv")):
        photos = sorted((source / "images").iterdir())[::4]
        share = 0.6 if source.name == "lfw" else 0.9
        faces, copies = [], []
        for number, path in enumerate(photos):
            with Image.open(path) as photo:
                rgb = photo.convert("RGB")
            faces.append(Planted(path.stem, "train", middle(rgb, share)))
            if number % 3 == 0:
                copy = jpeg(middle(rgb, share * 1.02, 0.01), 60)
                copies.append(Planted(path.stem, "test", ImageOps.mirror(copy) if number % 2 else copy))
        planted += len(copies)
        folders += [write(tmp_path, source.name, faces), write(tmp_path, f"{source.name} again", copies)]
    find_leakage(folders, KEEP, tmp_path / "out")

    def person(face_id: str) -> str:
        return face_id.partition("/")[2].rpartition("_")[0]

    pairs = pq.read_table(tmp_path / "out" / "pairs.parquet").to_pylist()
    stems = [tuple(row[f"face_id_{side}"].partition("/")[2] for side in "ab") for row in pairs]
    assert sum(one == other for one, other in stems) >= 0.95 * planted > 100
    strangers = [row for row in pairs if person(row["face_id_a"]) != person(row["face_id_b"])]
    assert strangers == []


def test_from_a_shell(crops, tmp_path, monkeypatch, capsys):
    config = tmp_path / "leakage.yaml"
    config.write_text("policy: fail")
    monkeypatch.setattr(sys, "argv", ["find_leakage", *map(str, crops), "--out", str(tmp_path / "out")])
    main()
    assert "5 across_datasets, 1 across_splits, 1 within_split" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--config", str(config)])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "4 faces of train and dev" in capsys.readouterr().err
