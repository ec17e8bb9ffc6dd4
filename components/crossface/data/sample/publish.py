"""Writes the sample: the photos on all processors, then the files in which each publisher tells of them."""

import csv
import hashlib
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

from crossface.data.emotions import EMOTIONS
from crossface.data.sample.capture import encode
from crossface.data.sample.face import Points
from crossface.data.sample.photo import Photo, take
from crossface.data.sample.population import (
    GENDERS,
    RACES,
    SHARES,
    SOURCES,
    Face,
    Source,
    draw_faces,
    draw_intensity,
    draw_people,
)
from crossface.data.storage import atomic_folder
from crossface.errors import ConfigError

MIN_FACES = 60

TRUTH_FILE = "truth.csv"
TRUTH_COLUMNS = ("dataset", "key", "true_emotion", "label", "split_hint", "person", "intensity")

RAFDB_LABELS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")  # from 1
EXPW_LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")  # from 0
AFFECTNET_LABELS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")  # from 0
AFFECTNET_COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
_CONTEMPT, _NONE, _UNCERTAIN, _NO_FACE = "7", "8", "9", "10"
_EXTRAS_SHARE = 0.10  # of AffectNet's faces, on top: rows that carry none of the seven

_FAULTS: dict[Source, tuple[str, ...]] = {
    "rafdb": ("missing", "truncated", "empty"),
    "expw": ("truncated", "empty", "missing"),
    "affectnet": ("negative width", "empty", "missing", "truncated"),
}

_AFFECT = {  # valence and arousal at full intensity
    "surprise": (0.2, 0.75),
    "fear": (-0.3, 0.8),
    "disgust": (-0.7, 0.35),
    "happiness": (0.85, 0.25),
    "sadness": (-0.75, -0.3),
    "anger": (-0.5, 0.7),
    "neutral": (0.0, 0.0),
    "contempt": (-0.55, 0.4),
}

_QUERIES = {  # ExpW was gathered by web search; the words are in the file names and say nothing sure
    "surprise": "astonished",
    "fear": "terrified",
    "disgust": "disgusted",
    "happiness": "happy",
    "sadness": "grieving",
    "anger": "angry",
    "neutral": "calm",
}

_README = """Sample data of crossface: {faces} drawn faces, seed {seed}. No photograph of anybody is in here.

rafdb/, expw/ and affectnet/ have the layouts in which RAF-DB (basic), ExpW and AffectNet (2017) are
published. On purpose, the sources differ in the expressions and people they show, in their cameras, and
in how they label: each has one habit. A few files are broken and a few labels are wrong, also on purpose.

truth.csv says what was drawn (true_emotion; empty for contempt and for no face) beside the published label.
key: rafdb <stem>, expw <image_name>#<face_id_in_image>, affectnet <subDirectory_filePath>.
No step of the pipeline reads it.
"""


@dataclass(frozen=True)
class Listing:
    """A photo, where it goes, and what is wrong with it (empty: nothing)."""

    photo: Photo
    fault: str = ""


@dataclass(frozen=True)
class Seen:
    """A photo as its publisher sees it: of every face, the 68 landmarks in pixels."""

    photo: Photo
    fault: str
    landmarks: list[Points]


Truth = tuple[str, str, Face]
"""Source, key and face: a row of the side file."""


def publish(out: Path, faces: int, seed: int) -> None:
    """See :func:`crossface.data.sample.write_sample_data`."""
    if faces < MIN_FACES:
        raise ConfigError(f"faces: at least {MIN_FACES} are needed to fill three sources (got {faces})")
    if seed < 0:
        raise ConfigError(f"seed: 0 or more (got {seed})")
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / TRUTH_FILE).is_file())):
        raise ConfigError(f"{out}: exists and is not a sample; choose another folder")
    sizes = {source: round(SHARES[source] * faces) for source in SOURCES}
    sizes["affectnet"] = faces - sizes["rafdb"] - sizes["expw"]
    listings = [
        listing
        for index, source in enumerate(SOURCES)
        for listing in _list_photos(source, sizes[source], seed, np.random.default_rng((seed, index)))
    ]
    with atomic_folder(out) as folder:
        truths: list[Truth] = []
        for source, photos in groupby(_shoot_all(listings, folder), key=lambda seen: seen.photo.source):
            rng = np.random.default_rng((seed, SOURCES.index(source), 1))
            truths += _WRITERS[source](list(photos), folder / source, rng)
        _write_truth(truths, folder / TRUTH_FILE)
        (folder / "README.txt").write_text(_README.format(faces=faces, seed=seed))


# ---------------------------------------------------------------------------------------------- listing


def _list_photos(source: Source, count: int, seed: int, rng: np.random.Generator) -> list[Listing]:
    faces = draw_faces(source, count, rng)
    if source == "affectnet":
        faces = [face for split in ("train", "test") for face in _with_extras(faces, split, rng)]
    groups = _grouped(faces, rng) if source == "expw" else [(face,) for face in faces]
    names = {"rafdb": _rafdb_names, "expw": _expw_names, "affectnet": _affectnet_names}[source](
        groups, seed, rng
    )
    photos = [
        Photo(source, name, group, (seed, SOURCES.index(source), 2, index))
        for index, (name, group) in enumerate(zip(names, groups, strict=True))
    ]
    faults = _place_faults(photos, count, rng)
    return [Listing(photo, faults.get(index, "")) for index, photo in enumerate(photos)]


def _grouped(faces: Sequence[Face], rng: np.random.Generator) -> list[tuple[Face, ...]]:
    groups, start = [], 0
    while start < len(faces):
        size = 1 + int(rng.choice(4, p=(0.50, 0.25, 0.15, 0.10)))
        groups.append(tuple(faces[start : start + size]))
        start += size
    return groups


def _rafdb_names(groups: Sequence[tuple[Face, ...]], seed: int, rng: np.random.Generator) -> list[str]:
    counts = {"train": 0, "test": 0}
    names = []
    for (face,) in groups:
        counts[face.split] += 1
        names.append(f"{face.split}_{counts[face.split]:0{5 if face.split == 'train' else 4}d}.jpg")
    return names


def _expw_names(groups: Sequence[tuple[Face, ...]], seed: int, rng: np.random.Generator) -> list[str]:
    words = list(_QUERIES.values())
    names = []
    for index, group in enumerate(groups):
        hit = rng.random() < 0.6
        word = _QUERIES[group[0].expression] if hit else words[int(rng.integers(len(words)))]
        noun = ("actor", "man", "woman", "people", "teacher")[int(rng.integers(5))]
        names.append(f"{word}_{noun}_{index + 1}.jpg")
    return names


def _affectnet_names(groups: Sequence[tuple[Face, ...]], seed: int, rng: np.random.Generator) -> list[str]:
    extensions = ("jpg", "JPG", "jpeg", "png", "bmp", "tif")
    names = []
    for index in range(len(groups)):
        digest = hashlib.sha224(f"{seed}/{index}".encode()).hexdigest()
        extension = extensions[int(rng.choice(6, p=(0.66, 0.12, 0.08, 0.08, 0.04, 0.02)))]
        names.append(f"{1 + int(rng.integers(20))}/{digest}.{extension}")
    return names


def _with_extras(faces: Sequence[Face], split: str, rng: np.random.Generator) -> list[Face]:
    """The faces of a split, and among them some that show contempt, nothing sure, or are no face."""
    kept = [face for face in faces if face.split == split]
    count = max(4, round(_EXTRAS_SHARE * len(kept)))
    people = draw_people("affectnet", f"{split}-other", count, rng)
    extras = []
    for index, person in enumerate(people):
        label = (_CONTEMPT, _NONE, _UNCERTAIN, _NO_FACE)[index % 4]
        shown = EMOTIONS[int(rng.integers(len(EMOTIONS)))]
        expression = {_CONTEMPT: "contempt", _NO_FACE: ""}.get(label, shown)
        intensity = {_CONTEMPT: 1.0, _NO_FACE: 0.0}.get(label, round(0.4 * draw_intensity(shown, rng), 3))
        extras.append(Face(person, expression, intensity, split, label))
    rows = kept + extras
    return [rows[i] for i in rng.permutation(len(rows)).tolist()]


def _place_faults(photos: Sequence[Photo], count: int, rng: np.random.Generator) -> dict[int, str]:
    """Which photos are broken, and how: ever fewer in proportion, always under 2 %, never a rare class."""
    kinds = _FAULTS[photos[0].source]
    number = min(round((count / 40) ** 0.5), int(0.019 * count))
    candidates = [
        index
        for index, photo in enumerate(photos)
        if len(photo.faces) == 1
        and photo.faces[0].split != "test"
        and photo.faces[0].label == photo.faces[0].expression
        and photo.faces[0].expression in ("happiness", "neutral")
        and photo.name.endswith(".jpg")  # only compressed files fail when their end is missing
    ]
    chosen = rng.choice(candidates, number, replace=False).tolist() if number else []
    return {index: kinds[turn % len(kinds)] for turn, index in enumerate(chosen)}


# ----------------------------------------------------------------------------------------------- photos


def _shoot_all(listings: Sequence[Listing], folder: Path) -> Iterator[Seen]:
    """Take all photos, in order. Each depends on its own seed only, so the number of processes is free."""
    for source in SOURCES:
        for directory in _image_folders(source, folder):
            directory.mkdir(parents=True)
    workers = min(8, os.cpu_count() or 1)
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of the caller's threads
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(partial(_shoot, folder=folder), listings, chunksize=16)


def _image_folders(source: Source, folder: Path) -> list[Path]:
    if source == "rafdb":
        return [folder / "rafdb" / "Image" / "original", folder / "rafdb" / "Image" / "aligned"]
    if source == "expw":
        return [folder / "expw" / "data" / "image" / "origin"]
    return [folder / "affectnet" / "Manually_Annotated_Images"]


def _shoot(listing: Listing, folder: Path) -> Seen:
    photo = listing.photo
    shot = take(photo)
    target = _image_folders(photo.source, folder)[0] / photo.name
    target.parent.mkdir(exist_ok=True)
    if listing.fault != "missing":
        kept = {"truncated": len(shot.file) // 2, "empty": 0}.get(listing.fault, len(shot.file))
        target.write_bytes(shot.file[:kept])
    if photo.source == "rafdb":
        stem = Path(photo.name).stem
        aligned = _image_folders("rafdb", folder)[1] / f"{stem}_aligned.jpg"
        aligned.write_bytes(encode(_align(shot.image, shot.landmarks[0]), aligned.name, 95))
    return Seen(photo, listing.fault, shot.landmarks)


def _align(image: Image.Image, points: Points) -> Image.Image:
    """100 x 100 pixels with the eyes level, at (33, 38) and (67, 38), as a similarity transform."""
    left, right = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    (a, b), (x, y) = (right - left) / 34.0, left
    return image.transform(
        (100, 100),
        Image.Transform.AFFINE,
        (a, -b, x - 33 * a + 38 * b, b, a, y - 33 * b - 38 * a),
        Image.Resampling.BILINEAR,
    )


# ------------------------------------------------------------------------------------------------ tables


def _face_box(points: Points) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a face from a little above the brows to the chin."""
    left, top = points.min(axis=0).tolist()
    right, bottom = points.max(axis=0).tolist()
    return left, top - 0.08 * (bottom - top), right, bottom


def _write_rafdb(photos: Sequence[Seen], folder: Path, rng: np.random.Generator) -> list[Truth]:
    boxes, manual, labels = (
        folder / "Annotation/boundingbox",
        folder / "Annotation/manual",
        folder / "EmoLabel",
    )
    for directory in (boxes, manual, labels):
        directory.mkdir(parents=True)
    lines, truths = [], []
    for seen in photos:
        (face,), (points,) = seen.photo.faces, seen.landmarks
        stem, person = Path(seen.photo.name).stem, face.person
        box = np.array(_face_box(points)) + rng.normal(0.0, 1.0, 4)
        (boxes / f"{stem}_boundingbox.txt").write_text("".join(f"{value:.3f} " for value in box))
        five = [points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54]]
        gender = 2 if person.age == 0 and rng.random() < 0.5 else GENDERS.index(person.gender)
        rows = [f"{x:.3f}\t{y:.3f}" for x, y in five]
        rows += [str(code) for code in (gender, RACES.index(person.race), person.age)]
        (manual / f"{stem}_manu_attri.txt").write_text("\n".join(rows) + "\n")
        lines.append(f"{seen.photo.name} {RAFDB_LABELS.index(face.label) + 1}\n")
        truths.append(("rafdb", stem, face))
    (labels / "list_patition_label.txt").write_text("".join(lines))
    return truths


def _write_expw(photos: Sequence[Seen], folder: Path, rng: np.random.Generator) -> list[Truth]:
    lines, truths = [], []
    for seen in photos:
        name = seen.photo.name
        for number, (face, points) in enumerate(zip(seen.photo.faces, seen.landmarks, strict=True)):
            left, top, right, bottom = (
                np.round(_face_box(points) + rng.normal(0.0, 1.0, 4)).astype(int).tolist()
            )
            confidence, label = rng.uniform(8.0, 110.0), EXPW_LABELS.index(face.label)
            lines.append(f"{name} {number} {top} {left} {right} {bottom} {confidence:.4f} {label}\n")
            truths.append(("expw", f"{name}#{number}", face))
    target = folder / "data" / "label"
    target.mkdir()
    (target / "label.lst").write_text("".join(lines))
    return truths


def _write_affectnet(photos: Sequence[Seen], folder: Path, rng: np.random.Generator) -> list[Truth]:
    lists = folder / "Manually_Annotated_file_lists"
    lists.mkdir()
    tables: dict[str, list[Sequence[object]]] = {"train": [AFFECTNET_COLUMNS], "test": []}
    truths: list[Truth] = []
    for seen in photos:
        (face,), (points,) = seen.photo.faces, seen.landmarks
        tables[face.split].append(_affectnet_row(seen, face, points, rng))
        truths.append(("affectnet", seen.photo.name, face))
    _write_csv(tables["train"], lists / "training.csv")
    _write_csv(tables["test"], lists / "validation.csv")  # the original has no header
    return truths


def _affectnet_row(seen: Seen, face: Face, points: Points, rng: np.random.Generator) -> list[object]:
    left, top, right, bottom = _face_box(points)
    side = round(max(right - left, bottom - top) * rng.normal(1.08, 0.03))
    x, y = round((left + right - side) / 2), round((top + bottom - side) / 2)
    width = -side if seen.fault == "negative width" else side
    marks = ";".join(f"{value:.2f}" for value in points.ravel().tolist())
    expression = AFFECTNET_LABELS.index(face.label) if face.label in EMOTIONS else int(face.label)
    if face.label in (_NONE, _UNCERTAIN, _NO_FACE):
        affect: list[object] = [-2, -2]
    else:
        levels = np.array(_AFFECT[face.expression]) * face.intensity + rng.normal(0.0, 0.06, 2)
        affect = [f"{value:.6f}" for value in levels.clip(-1.0, 1.0)]
    return [seen.photo.name, x, y, width, side, marks, expression, *affect]


_WRITERS = {"rafdb": _write_rafdb, "expw": _write_expw, "affectnet": _write_affectnet}


def _write_truth(truths: Iterable[Truth], path: Path) -> None:
    rows: list[Sequence[object]] = [TRUTH_COLUMNS]
    for source, key, face in truths:
        shown = face.expression if face.expression in EMOTIONS else ""
        rows.append((source, key, shown, face.label, face.split, face.person.id, f"{face.intensity:.3f}"))
    _write_csv(rows, path)


def _write_csv(rows: Iterable[Sequence[object]], path: Path) -> None:
    with path.open("w", newline="", encoding="ascii") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
