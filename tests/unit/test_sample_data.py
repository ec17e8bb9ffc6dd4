"""Sample data: the publishers' layouts, parsed here by hand, and the biases that are built into them."""

import csv
import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crossface.data.emotions import EMOTIONS
from crossface.data.sample import population, publish, write_sample_data
from crossface.errors import ConfigError

FACES = 300
RAFDB = dict(enumerate(["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"], start=1))
EXPW = dict(enumerate(["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]))
AFFECTNET = dict(enumerate(["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"]))


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    out = tmp_path_factory.mktemp("sample") / "out"
    write_sample_data(out, FACES, seed=3)
    return out


@pytest.fixture(scope="module")
def truth(sample):
    with (sample / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["dataset"], row["key"]): row for row in rows}


def rafdb_labels(sample):
    lines = (sample / "rafdb/EmoLabel/list_patition_label.txt").read_text().splitlines()
    return {name.removesuffix(".jpg"): int(label) for name, label in (line.split(" ") for line in lines)}


def expw_rows(sample):
    lines = (sample / "expw/data/label/label.lst").read_text().splitlines()
    return [line.split(" ") for line in lines]


def affectnet_rows(sample, name):
    with (sample / f"affectnet/Manually_Annotated_file_lists/{name}.csv").open(newline="") as file:
        return list(csv.reader(file))


def affectnet_faces(sample):
    return affectnet_rows(sample, "training")[1:] + affectnet_rows(sample, "validation")


def photos(sample):
    """(source, path, number of labelled faces) of every photo that is listed."""
    expw = Counter(row[0] for row in expw_rows(sample))
    yield from (("rafdb", sample / f"rafdb/Image/original/{stem}.jpg", 1) for stem in rafdb_labels(sample))
    yield from (("expw", sample / "expw/data/image/origin" / name, n) for name, n in expw.items())
    for row in affectnet_faces(sample):
        yield "affectnet", sample / "affectnet/Manually_Annotated_Images" / row[0], 1


def fault_of(path):
    if not path.exists():
        return "missing"
    if path.stat().st_size == 0:
        return "empty"
    try:
        Image.open(path).load()
    except OSError as error:
        return "truncated" if "truncated" in str(error) else str(error)
    return ""


def boxes(sample):
    """(source, photo, left, top, right, bottom) of every sound face, each as its publisher means it."""
    for stem in rafdb_labels(sample):
        text = (sample / f"rafdb/Annotation/boundingbox/{stem}_boundingbox.txt").read_text()
        yield "rafdb", sample / f"rafdb/Image/original/{stem}.jpg", *map(float, text.split())
    for name, _, top, left, right, bottom, _, _ in expw_rows(sample):
        yield "expw", sample / "expw/data/image/origin" / name, *map(int, (left, top, right, bottom))
    for row in affectnet_faces(sample):
        x, y, width, height = map(int, row[1:5])
        if int(row[6]) <= 6:
            path = sample / "affectnet/Manually_Annotated_Images" / row[0]
            yield "affectnet", path, x, y, x + width, y + height


def crop(path, left, top, right, bottom, side=32):
    data = ((right - left) / side, 0, left, 0, (bottom - top) / side, top)
    with Image.open(path) as image:
        rgb = image.convert("RGB").transform(
            (side, side), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR
        )
    return np.asarray(rgb, dtype=float)


@pytest.fixture(scope="module")
def crops(sample):
    """Source -> crops by the published box of the faces that lie within a sound photo."""
    found = {source: [] for source in population.SOURCES}
    for source, path, left, top, right, bottom in boxes(sample):
        if fault_of(path) or right <= left:
            continue
        with Image.open(path) as image:
            width, height = image.size
        if min(left, top) >= 0 and right <= width and bottom <= height:
            found[source].append(crop(path, left, top, right, bottom))
    return {source: np.stack(images) for source, images in found.items()}


# ---------------------------------------------------------------------------------------------- layouts


def test_rafdb_layout(sample, truth):
    labels = rafdb_labels(sample)
    for stem, label in labels.items():
        assert truth["rafdb", stem]["label"] == RAFDB[label]
        assert truth["rafdb", stem]["split_hint"] == stem.split("_")[0]
        raw = (sample / f"rafdb/Annotation/boundingbox/{stem}_boundingbox.txt").read_bytes()
        assert raw.endswith(b" ")
        assert b"\n" not in raw
        left, top, right, bottom = map(float, raw.split())
        assert left < right
        assert top < bottom
        lines = (sample / f"rafdb/Annotation/manual/{stem}_manu_attri.txt").read_text().splitlines()
        points = [tuple(map(float, line.split("\t"))) for line in lines[:5]]
        assert all(left - 5 < x < right + 5 and top < y < bottom + 5 for x, y in points)
        (eye_left, eye_right, nose, mouth_left, mouth_right) = points
        assert eye_left[0] < nose[0] + 25
        assert eye_left[0] < eye_right[0]
        assert mouth_left[0] < mouth_right[0]
        gender, race, age = map(int, lines[5:])
        assert gender in range(3)
        assert race in range(3)
        assert age in range(5)
        with Image.open(sample / f"rafdb/Image/aligned/{stem}_aligned.jpg") as aligned:
            assert (aligned.size, aligned.mode) == ((100, 100), "RGB")
    stems = list(labels)
    assert stems[0] == "train_00001"
    assert "test_0001" in stems
    assert sum(stem.startswith("test") for stem in stems) == round(0.2 * len(stems))


def test_rafdb_attributes_agree_with_the_picture(sample):
    """Skin between the eyes of the aligned image is darkest where the table says African-American."""
    tone = {0: [], 1: [], 2: []}
    for stem in rafdb_labels(sample):
        race = int((sample / f"rafdb/Annotation/manual/{stem}_manu_attri.txt").read_text().split("\n")[6])
        pixels = np.asarray(Image.open(sample / f"rafdb/Image/aligned/{stem}_aligned.jpg"), dtype=float)
        tone[race].append(pixels[45:55, 44:56].mean())
    assert max(tone[1]) < min(np.mean(tone[0]), np.mean(tone[2])) - 20
    assert np.mean(tone[2]) < np.mean(tone[0])


def test_rafdb_eyes_are_where_the_landmarks_say(sample):
    """The pupils are the darkest thing near the published points."""
    hits = []
    for stem in rafdb_labels(sample):
        path = sample / f"rafdb/Image/original/{stem}.jpg"
        if fault_of(path):
            continue
        grey = np.asarray(Image.open(path).convert("L"))
        lines = (sample / f"rafdb/Annotation/manual/{stem}_manu_attri.txt").read_text().splitlines()
        for line in lines[:2]:
            x, y = (round(float(value)) for value in line.split("\t"))
            hits.append(grey[y - 4 : y + 5, x - 6 : x + 7].min() < 90)
    assert np.mean(hits) > 0.95


def test_expw_layout(sample, truth):
    rows = expw_rows(sample)
    numbers = {}
    for name, number, *box, confidence, label in rows:
        numbers.setdefault(name, []).append(int(number))
        assert truth["expw", f"{name}#{number}"]["label"] == EXPW[int(label)]
        assert truth["expw", f"{name}#{number}"]["split_hint"] == ""
        assert all(side.lstrip("-").isdigit() for side in box)
        assert float(confidence) > 1
    assert all(found == list(range(len(found))) and len(found) <= 4 for found in numbers.values())
    assert max(map(len, numbers.values())) > 1


def test_expw_boxes_leave_some_photos_by_a_few_pixels(sample):
    left_out = []
    for source, path, left, top, right, bottom in boxes(sample):
        if source == "expw" and not fault_of(path):
            with Image.open(path) as image:
                width, height = image.size
            over = max(-left, -top, right - width, bottom - height)
            assert over < 0.5 * (right - left)
            left_out.append(over > 0)
    assert 0 < np.mean(left_out) < 0.2


def test_expw_columns_are_top_left_right_bottom(sample, crops):
    """Crops in that order look like the faces of RAF-DB, whose boxes have another order, on average."""
    reference = crops["rafdb"].mean(axis=(0, 3)).ravel()

    def likeness(order):
        images = []
        for name, _, *sides, _, _ in expw_rows(sample):
            box = dict(zip(order, map(int, sides), strict=True))
            path = sample / "expw/data/image/origin" / name
            if not fault_of(path):
                images.append(crop(path, *(box[side] for side in ("left", "top", "right", "bottom"))))
        return np.corrcoef(np.mean(images, axis=(0, 3)).ravel(), reference)[0, 1]

    right = likeness(("top", "left", "right", "bottom"))
    assert right > 0.7
    assert likeness(("left", "top", "right", "bottom")) < right - 0.15
    assert likeness(("top", "left", "bottom", "right")) < right - 0.15


def test_affectnet_layout(sample, truth):
    training, validation = (affectnet_rows(sample, name) for name in ("training", "validation"))
    assert ",".join(training[0]) == (
        "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    )
    rows = training[1:] + validation
    for path, x, y, width, height, marks, expression, valence, arousal in rows:
        row = truth["affectnet", path]
        assert row["label"] == AFFECTNET.get(int(expression), expression)
        if expression in ("8", "9", "10"):
            assert (valence, arousal) == ("-2", "-2")
            continue
        assert -1 <= float(valence) <= 1
        assert -1 <= float(arousal) <= 1
        points = np.array(marks.split(";"), dtype=float).reshape(68, 2)
        left, top, size = int(x), int(y), int(height)
        assert abs(int(width)) == size
        assert (np.abs(points - [left + size / 2, top + size / 2]) < 0.62 * size).all()
        right_eye, left_eye = points[42:48].mean(axis=0), points[36:42].mean(axis=0)
        assert left_eye[0] < right_eye[0]
        assert points[8, 1] > points[57, 1] > points[30, 1] > left_eye[1] > points[19, 1]
    assert all(truth["affectnet", row[0]]["split_hint"] == "test" for row in validation)
    suffixes = {Path(row[0]).suffix for row in rows}
    assert {".jpg", ".JPG", ".png"} <= suffixes
    extras = sum(int(row[6]) > 6 for row in rows)
    assert {row[6] for row in training[1:]} >= {"7", "8", "9", "10"}
    assert len(rows) - extras == FACES - len(rafdb_labels(sample)) - len(expw_rows(sample))
    assert 0.05 < extras / (len(rows) - extras) < 0.15
    shown = Counter(truth["affectnet", row[0]]["true_emotion"] for row in validation if int(row[6]) <= 6)
    assert len(shown) == 7
    assert len(set(shown.values())) == 1


def test_truth_names_every_published_face_once(sample, truth):
    keys = [("rafdb", stem) for stem in rafdb_labels(sample)]
    keys += [("expw", f"{row[0]}#{row[1]}") for row in expw_rows(sample)]
    keys += [("affectnet", row[0]) for row in affectnet_faces(sample)]
    assert sorted(keys) == sorted(truth)
    assert len(set(keys)) == len(keys)
    assert (
        (sample / "README.txt").read_text().startswith("Sample data of crossface: 300 drawn faces, seed 3.")
    )


# --------------------------------------------------------------------------------------------- faults


def test_a_few_files_are_broken_and_only_a_few(sample):
    faults = Counter()
    per_source = {"rafdb": [0, 0], "expw": [0, 0], "affectnet": [0, 0]}
    for source, path, faces in photos(sample):
        kind = fault_of(path)
        faults[kind] += 1
        per_source[source][0] += faces * bool(kind)
        per_source[source][1] += faces
    negative = [row for row in affectnet_faces(sample) if int(row[3]) < 0]
    per_source["affectnet"][0] += len(negative)
    assert len(negative) >= 1
    assert set(faults) == {"", "missing", "empty", "truncated"}
    assert all(0 < broken < 0.02 * total for broken, total in per_source.values())


@settings(max_examples=20)
@given(st.sampled_from(population.SOURCES), st.integers(18, 2000))
def test_plainly_wrong_labels_are_few_and_faults_stay_under_two_percent(source, count):
    faces = population.draw_faces(source, count, np.random.default_rng(count))
    habit = population.HABITS[source]
    wrong = [
        f for f in faces if f.label != f.expression and (f.expression, f.label) != (habit.true, habit.called)
    ]
    assert len(wrong) <= 0.01 * count + 1
    assert all(face.expression in ("happiness", "neutral") for face in wrong)
    listed = [publish.Photo(source, f"{i}.jpg", (face,), (i,)) for i, face in enumerate(faces)]
    broken = publish._place_faults(listed, count, np.random.default_rng(0))
    assert len(broken) < 0.02 * count
    assert all(faces[i].split != "test" for i in broken)


def test_wrong_labels_are_in_a_sample_of_300(truth):
    habits = {(source, habit.true, habit.called) for source, habit in population.HABITS.items()}
    wrong = [
        row
        for row in truth.values()
        if row["true_emotion"] and row["label"] in EMOTIONS and row["label"] != row["true_emotion"]
        if (row["dataset"], row["true_emotion"], row["label"]) not in habits
    ]
    assert 1 <= len(wrong) <= 0.02 * FACES


# -------------------------------------------------------------------------------------------- the biases


@pytest.fixture(scope="module")
def crowd():
    """Source -> the faces of a sample of 1,500, before anything is drawn."""
    return {
        source: population.draw_faces(
            source, round(1500 * population.SHARES[source]), np.random.default_rng(8)
        )
        for source in population.SOURCES
    }


def share(faces, value, of):
    return np.mean([of(face) == value for face in faces])


def test_selection_differs_between_the_sources(crowd):
    train = {source: [face for face in faces if face.split != "test"] for source, faces in crowd.items()}
    shown = {
        source: {e: share(faces, e, lambda f: f.expression) for e in EMOTIONS}
        for source, faces in train.items()
    }
    everyone = [face.expression for faces in train.values() for face in faces]
    assert 0.65 < np.mean([name in ("happiness", "neutral") for name in everyone]) < 0.78
    assert max(shown["rafdb"], key=shown["rafdb"].get) == "happiness"
    assert max(shown["expw"], key=shown["expw"].get) == "neutral"
    assert shown["affectnet"]["happiness"] + shown["affectnet"]["neutral"] > 0.72
    for one, other in (("rafdb", "expw"), ("expw", "affectnet")):
        distance = sum(abs(shown[one][name] - shown[other][name]) for name in EMOTIONS) / 2
        assert distance > 0.15  # total variation
    women = {source: share(faces, "female", lambda f: f.person.gender) for source, faces in crowd.items()}
    old = {source: np.mean([f.person.age >= 3 for f in faces]) for source, faces in crowd.items()}
    assert women["rafdb"] > women["expw"] + 0.08
    assert old["affectnet"] > max(old["rafdb"], old["expw"]) + 0.15


def test_every_expression_is_in_every_split_of_1500(crowd):
    for source, faces in crowd.items():
        for split in {face.split for face in faces}:
            labels = Counter(face.label for face in faces if face.split == split)
            assert min(labels[name] for name in EMOTIONS) >= {"train": 4, "test": 2, "": 8}[split], (
                source,
                labels,
            )


@settings(max_examples=20)
@given(st.integers(60, 400))
def test_a_tiny_sample_still_has_every_expression_in_train(faces):
    for source in population.SOURCES:
        rows = population.draw_faces(
            source, round(faces * population.SHARES[source]), np.random.default_rng(faces)
        )
        assert {face.label for face in rows if face.split != "test"} == set(EMOTIONS)
        assert {face.expression for face in rows if face.split == "test"} in (set(EMOTIONS), set())


@given(st.integers(0, 3000), st.lists(st.floats(0.01, 1), min_size=7, max_size=7))
def test_allot_shares_out_exactly(count, priors):
    counts = population.allot(count, tuple(priors))
    assert sum(counts) == count
    assert min(counts) >= (1 if count >= 7 else 0)


@pytest.mark.parametrize(
    ("source", "true", "called"),
    [("rafdb", "sadness", "neutral"), ("expw", "fear", "surprise"), ("affectnet", "disgust", "anger")],
)
def test_each_source_has_its_habit_and_the_others_do_not(crowd, source, true, called):
    for name, faces in crowd.items():
        for split in {face.split for face in faces}:
            affected = [face for face in faces if face.expression == true and face.split == split]
            rate = share(affected, called, lambda f: f.label)
            assert 0.6 <= rate <= 0.8 if name == source else rate == 0, (name, split, rate)
    affected = [face for face in crowd[source] if face.expression == true]
    faint = [face.intensity for face in affected if face.label == called]
    strong = [face.intensity for face in affected if face.label == true]
    assert np.mean(faint) < np.mean(strong) - 0.2


def test_people_recur_but_never_across_splits(crowd):
    for source in ("rafdb", "affectnet"):
        groups = {
            split: [face.person.id for face in crowd[source] if face.split == split]
            for split in ("train", "test")
        }
        assert not set(groups["train"]) & set(groups["test"])
        assert max(Counter(groups["train"]).values()) >= 3
    people = [face.person.id for face in crowd["expw"]]
    assert len(set(people)) == len(people)


def test_the_camera_gives_the_source_away(crops):
    """Two plain statistics of the crop, a nearest centroid, leave one out: the dataset in over 90 %."""
    features, names = [], []
    for source, images in crops.items():
        grey = images.mean(axis=3)
        edges = np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
        tint = np.log(images[..., 0].mean(axis=(1, 2)) / images[..., 2].mean(axis=(1, 2)))
        features.append(np.stack([tint, np.log(edges)], axis=1))
        names += [source] * len(images)
    x, y = np.concatenate(features), np.array(names)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    right = []
    for i in range(len(x)):
        others = np.arange(len(x)) != i
        centroids = {name: x[others & (y == name)].mean(axis=0) for name in crops}
        right.append(min(centroids, key=lambda name: np.linalg.norm(x[i] - centroids[name])) == y[i])
    assert np.mean(right) > 0.9


# ------------------------------------------------------------------------------------- the whole folder


def tree(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes_on_any_number_of_processes(tmp_path, monkeypatch):
    write_sample_data(tmp_path / "a", 60, seed=5)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    write_sample_data(tmp_path / "b", 60, seed=5)
    write_sample_data(tmp_path / "c", 60, seed=6)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert tree(tmp_path / "a") != tree(tmp_path / "c")


def test_out_is_whole_or_absent(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(publish, "_write_truth", fail)
    monkeypatch.setattr(publish, "_shoot_all", lambda listings, folder: [])
    with pytest.raises(OSError, match="disk full"):
        write_sample_data(tmp_path / "out", 60, seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("faces", "seed", "message"), [(59, 0, "faces: at least 60"), (60, -1, "seed: 0 or more")]
)
def test_too_small_numbers_are_refused(tmp_path, faces, seed, message):
    with pytest.raises(ConfigError, match=message):
        write_sample_data(tmp_path / "out", faces, seed)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="is not a sample"):
        write_sample_data(tmp_path, 60, seed=0)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_importing_the_package_does_not_load_a_drawing_library():
    code = "import sys, crossface.data.sample; sys.exit('PIL' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
