"""score: the pixels of training, no photo lost, shards that outlive a kill, drift and its page."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from odd_photos import make
from PIL import Image
from s3_server import BUCKET, start_proxy, start_s3_server  # noqa: F401  fixtures
from served import CROP_SIZE, MARGIN, SIZE, flat_reference, write_served

from crossface.crop_faces.config import CropConfig
from crossface.crop_faces.crop import crop_faces
from crossface.data.crops import CAPTURE, open_crops
from crossface.data.emotions import EMOTIONS, SPLITS
from crossface.data.records import write_records
from crossface.data.rejects import read_rejects, write_rejects
from crossface.errors import ConfigError, DataError
from crossface.model.export import run_onnx
from crossface.model.images import decode_crops
from crossface.score.checkpoint import ShardStore
from crossface.score.config import ScoreConfig
from crossface.score.score import score
from crossface.score.table import SCORE_SCHEMA, score_table

SIDES = ("left", "top", "width", "height")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_served(tmp_path_factory.mktemp("model"), reference=flat_reference())


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twenty-three photos in folders, among them a broken one, other files and hidden ones."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    for number in range(22):
        folder = root / f"day {number % 3}"
        folder.mkdir(exist_ok=True)
        coarse = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((150, 180), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:02}.{'jpg' if number % 2 else 'PNG'}")
    (root / "day 0" / "broken.jpg").write_bytes(b"\xff\xd8no")
    (root / "notes.txt").write_text("not a photo")
    (root / ".thumbs").mkdir()
    for hidden in (root / ".thumbs" / "a.jpg", root / "day 1" / "._01.jpg"):
        hidden.write_bytes(b"hidden")
    return root


def run(model, source, out, **changes):
    settings = {"workers": 1, "max_reject_fraction": 1.0, "shard_photos": 5, "batch_size": 3}
    return score(model, ScoreConfig(source=str(source), **{**settings, **changes}), out)


def rows_of(out: Path) -> list[dict]:
    return [row for part in sorted(out.glob("part-*.parquet")) for row in pq.read_table(part).to_pylist()]


def said(rows: list[dict]) -> np.ndarray:
    return np.array([[row[name] for name in EMOTIONS] for row in rows])


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*.parquet")}


def write_boxes(path: Path, rows: list[tuple]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", *SIDES), *rows])
    return path


# ---------------------------------------------------------------- what it says


def test_pixels_and_capture_are_those_of_training(model, photos, tmp_path):
    """Against crop_faces, and the decoding that train and evaluate use."""
    uris = sorted(str(path) for path in photos.glob("day */[0-9]*"))
    boxes = [(10.5, 20, 60 + index, 70) if index % 4 else (-20, 90, 130, 140) for index in range(len(uris))]
    records = [
        {
            **dict.fromkeys(("dataset", "raw_label", "group"), "x"),
            **{"face_id": uri, "image_uri": uri, "emotion": 0, "split": SPLITS[index % 3]},
            "box": dict(zip(SIDES, box, strict=True)),
        }
        for index, (uri, box) in enumerate(zip(uris, boxes, strict=True))
    ]
    (tmp_path / "records").mkdir()
    write_records(records, tmp_path / "records")
    write_rejects([], tmp_path / "records")
    crop_faces(tmp_path / "records", CropConfig(size=CROP_SIZE, margin=MARGIN, workers=1), tmp_path / "crops")
    crops = open_crops([tmp_path / "crops"])
    pixels = decode_crops(crops, SIZE).permute(0, 2, 3, 1).contiguous().numpy()
    expected = run_onnx(model / "artifacts" / "network.onnx", pixels)[:, 0]

    listed = [(str(Path(uri).relative_to(photos)), *box) for uri, box in zip(uris, boxes, strict=True)]
    table = write_boxes(tmp_path / "boxes.csv", [("day 0/gone.jpg", 1, 2, 3, 4), *reversed(listed)])
    run(model, photos, tmp_path / "scores", boxes=str(table))
    rows = rows_of(tmp_path / "scores")
    assert [row["uri"] for row in rows] == uris
    assert [row["capture"] for row in rows] == crops.to_table(columns=["capture"])["capture"].to_pylist()
    assert [tuple(row["box"].values()) for row in rows] == boxes
    np.testing.assert_allclose(said(rows), expected, atol=1e-6)
    assert np.ptp(expected, axis=0).max() > 0.05, "faces that are all the same to the network prove nothing"
    assert [row["expression"] for row in rows] == [EMOTIONS[index] for index in expected.argmax(1)]
    np.testing.assert_allclose([row["confidence"] for row in rows], expected.max(1), atol=1e-6)
    rejects = read_rejects(tmp_path / "scores")
    assert [(Path(reject.uri).name, reject.reason) for reject in rejects] == [
        ("broken.jpg", "unreadable_image"),
        ("gone.jpg", "missing_file"),
    ]


def test_several_faces_of_a_photo_and_photos_without_a_box(model, photos, tmp_path):
    boxes = [("day 1/01.jpg", left, 20, 50, 60) for left in (70, 0, 30)]
    table = write_boxes(tmp_path / "boxes.csv", [boxes[0], ("day 2/02.PNG", 0, 0, 9, 9), *boxes[1:]])
    run(model, photos, tmp_path / "out", boxes=str(table), patterns=["day 1/*"])
    assert [(Path(row["uri"]).name, row["box"]["left"]) for row in rows_of(tmp_path / "out")] == [
        *(("01.jpg", left) for left in (70, 0, 30)),
        ("02.PNG", 0),
    ]
    assert {reject.reason for reject in read_rejects(tmp_path / "out")} == {"no_face"}


def test_without_boxes_the_whole_photo_is_the_face_and_several_workers_change_nothing(
    model, photos, tmp_path
):
    done = run(model, photos, tmp_path / "one")
    run(model, photos, tmp_path / "two", workers=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    rows = rows_of(tmp_path / "one")
    assert [row["uri"] for row in rows] == sorted(str(path) for path in photos.glob("day */[0-9]*"))
    assert all(tuple(row["box"].values()) == (0, 0, 150, 180) for row in rows)
    assert [pq.read_metadata(part).num_rows for part in sorted((tmp_path / "one").glob("part-*"))] == [
        *(5, 4, 5, 5, 3),
    ]
    (reject,) = read_rejects(tmp_path / "one")
    assert (reject.stage, reject.reason) == ("score", "unreadable_image")
    assert reject.uri == str(photos / "day 0" / "broken.jpg")
    metrics = done.metrics()
    assert (metrics["photos"], metrics["faces"], metrics["rejects/unreadable_image"]) == (23, 22, 1)
    assert done.document["other_files"] == 1
    assert sum(metrics[f"expressions/{name}"] for name in EMOTIONS) == pytest.approx(1)


def test_every_odd_photo_is_scored_or_rejected(model, tmp_path):
    faces = make(tmp_path / "odd")
    table = write_boxes(tmp_path / "boxes.csv", [(odd.name, *(odd.box or (0, 0, 50, 50))) for odd in faces])
    run(model, tmp_path / "odd", tmp_path / "out", boxes=str(table), shard_photos=1000)
    scored = {row["uri"].partition("/odd/")[2] for row in rows_of(tmp_path / "out")}
    refused = {reject.uri.partition("/odd/")[2]: reject for reject in read_rejects(tmp_path / "out")}
    assert not scored & refused.keys()
    for odd in faces:
        if odd.name in scored:
            assert odd.look is not None, odd.name
        else:
            assert refused[odd.name].reason in odd.reasons, odd.name


def test_names_that_are_not_utf8_are_scored_and_escaped(model, photos, tmp_path):
    name = os.fsencode(tmp_path / "in") + b"/caf\xe9.png"
    (tmp_path / "in").mkdir()
    Path(os.fsdecode(name)).write_bytes((photos / "day 0" / "00.PNG").read_bytes())
    run(model, tmp_path / "in", tmp_path / "out")
    (row,) = rows_of(tmp_path / "out")
    assert row["uri"].endswith(r"/caf\udce9.png")


def test_patterns_choose_photos_and_none_is_an_error(model, photos, tmp_path):
    run(model, photos, tmp_path / "out", patterns=["day 1/*.jpg"])
    assert {Path(row["uri"]).parent.name for row in rows_of(tmp_path / "out")} == {"day 1"}
    with pytest.raises(DataError, match=r"none of 24 files is a photo by score.patterns \(\*\.tiff\)"):
        run(model, photos, tmp_path / "none", patterns=["*.tiff"])
    assert not (tmp_path / "none").exists()


def test_archive_is_scored_under_names_that_last(model, photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(photos.rglob("*.jpg")):
            archive.write(path, path.relative_to(photos))
    run(model, tmp_path / "photos.zip", tmp_path / "out")
    run(model, photos, tmp_path / "plain", patterns=["*.jpg"])
    rows, plain = rows_of(tmp_path / "out"), rows_of(tmp_path / "plain")
    assert [row["uri"] for row in rows] == [
        row["uri"].replace(str(photos), f"{tmp_path}/photos.zip") for row in plain
    ]
    assert (said(rows) == said(plain)).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,left,top,width\na.jpg,1,2,3\n", r"boxes.csv:1: the column height is missing"),
        ("image,left,top,width,height\na.jpg,1,2,3,4\na.jpg,1,2,x,4\n", r"boxes.csv:3: could not convert"),
        ("image,left,top,width,height\n../a.jpg,1,2,3,4\n", r"boxes.csv:2: '../a.jpg' is not a path inside"),
        ("image,left,top,width,height\na.jpg,1,2\n", r"boxes.csv:2: float\(\) argument"),
    ],
)
def test_wrong_boxes_are_named_by_their_line(model, photos, tmp_path, text, said):
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        run(model, photos, tmp_path / "out", boxes=str(tmp_path / "boxes.csv"))


def test_too_many_rejects_leave_nothing_but_the_checkpoint(model, photos, tmp_path):
    kept = str(tmp_path / "kept")
    with pytest.raises(DataError, match=r"1 of 23 faces rejected .* unreadable_image, as in .*broken.jpg"):
        run(model, photos, tmp_path / "out", max_reject_fraction=0.01, checkpoint=kept)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    (tmp_path / "all broken").mkdir()
    (tmp_path / "all broken" / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="not one face could be scored"):
        run(model, tmp_path / "all broken", tmp_path / "out")


# ---------------------------------------------------------------- what survives


# in a process of its own, that can be killed between a shard and the next; at full speed there is no between
SLOW = """
import json, sys, time
from pathlib import Path
from crossface.score import shards
from crossface.score.config import ScoreConfig
from crossface.score.score import score

plain = shards._score
def slow(*arguments):
    time.sleep(0.7)
    return plain(*arguments)
shards._score = slow
if __name__ == "__main__":
    score(Path(sys.argv[1]), ScoreConfig(**json.loads(sys.argv[2])), Path(sys.argv[3]))
"""


def test_killed_run_goes_on_and_ends_byte_for_byte_the_same(model, photos, tmp_path, capsys):
    settings = {"shard_photos": 4, "workers": 2, "batch_size": 3, "max_reject_fraction": 1.0}
    kept = tmp_path / "kept"
    (tmp_path / "slow.py").write_text(SLOW)
    config = json.dumps({"source": str(photos), "checkpoint": str(kept), **settings})
    command = [sys.executable, str(tmp_path / "slow.py"), str(model), config, str(tmp_path / "out")]
    with subprocess.Popen(command, start_new_session=True) as process:
        while len(done := sorted(kept.glob("*/*/scores.parquet"))) < 3:  # the third has a reject
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in done}
    score(model, ScoreConfig(source=str(photos), checkpoint=str(kept), **settings), tmp_path / "out")
    assert re.search(rf"{len(done)} of 6 shards are done already", capsys.readouterr().out)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
    score(model, ScoreConfig(source=str(photos), **settings), tmp_path / "whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert len(rows_of(tmp_path / "out")) == 22
    assert len(read_rejects(tmp_path / "out")) == 1


def test_work_of_another_kind_starts_anew_and_leaves_the_other_alone(model, photos, tmp_path, capsys):
    def done(source=photos, by=model, **changes):
        run(by, source, tmp_path / "out", checkpoint=str(tmp_path / "kept"), **changes)
        return int(re.search(r"(\d+) of \d+ shards are done already", capsys.readouterr().out)[1])

    copy = shutil.copytree(photos, tmp_path / "copy")
    other = write_served(tmp_path / "other", seed=1, reference=flat_reference())
    later = write_served(tmp_path / "later", version="2", reference=flat_reference())
    assert [done(), done()] == [0, 5]
    assert [done(by=other), done(by=later), done(by=model)] == [0, 0, 5]
    assert [done(shard_photos=6), done(batch_size=4), done(revision="b")] == [0, 0, 0]
    assert done(workers=2, max_reject_fraction=0.5) == 5, "how, not what"
    assert [done(copy), done(copy)] == [0, 5]
    with (copy / "day 0" / "00.PNG").open("ab") as file:
        file.write(b"\0")
    assert done(copy) == 0
    table = write_boxes(tmp_path / "boxes.csv", [("day 0/00.PNG", 1, 2, 30, 40)])
    assert done(boxes=str(table)) == 0
    write_boxes(table, [("day 0/00.PNG", 1, 2, 30, 41)])
    assert done(boxes=str(table)) == 0
    assert done() == 5


def test_damaged_shard_is_named(model, photos, tmp_path):
    run(model, photos, tmp_path / "out", checkpoint=str(tmp_path / "kept"))
    (shard,) = (tmp_path / "kept").glob("*/00003/scores.parquet")
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(DataError, match=re.escape(f"{shard.parent}: damaged, remove it")):
        run(model, photos, tmp_path / "out", checkpoint=str(tmp_path / "kept"))
    shutil.rmtree(shard.parent)
    run(model, photos, tmp_path / "again", checkpoint=str(tmp_path / "kept"))
    assert content(tmp_path / "again") == content(tmp_path / "out")


def test_checkpoint_of_another_scheme_is_refused(model, photos, tmp_path):
    with pytest.raises(ConfigError, match=r"score\.checkpoint: gs://x is neither"):
        run(model, photos, tmp_path / "out", checkpoint="gs://x")


def test_bucket_is_scored_and_holds_the_checkpoint(model, photos, tmp_path, s3_server, proxy, capsys):
    for path in photos.rglob("*.*"):
        if path.is_file():
            s3_server.put(f"in/{path.relative_to(photos)}", path.read_bytes())
    kept = f"s3://{BUCKET}/kept"
    for file in ("rejects", "scores"):
        proxy.spoil(f"00002/{file}.parquet", *["500"] * 9)
        with pytest.raises(DataError, match=rf"00002/{file}\.parquet: "):
            run(model, f"s3://{BUCKET}/in", tmp_path / "out", checkpoint=kept)
        proxy.faults.clear()
    capsys.readouterr()
    run(model, f"s3://{BUCKET}/in", tmp_path / "out", checkpoint=kept)
    assert "2 of 5 shards are done already" in capsys.readouterr().out
    run(model, photos, tmp_path / "local")
    rows, local = rows_of(tmp_path / "out"), rows_of(tmp_path / "local")
    assert [row["uri"] for row in rows] == [
        row["uri"].replace(str(photos), f"s3://{BUCKET}/in") for row in local
    ]
    assert (said(rows) == said(local)).all()


def test_shard_without_its_scores_is_not_done(tmp_path):
    (tmp_path / "scratch").mkdir()
    store = ShardStore(str(tmp_path / "kept"), {"a": 1}, tmp_path / "scratch")
    pq.write_table(score_table([], np.empty((0, 7), np.float32)), tmp_path / "part")
    store.keep(0, tmp_path / "part", [])
    store.keep(1, tmp_path / "part", [])
    (tmp_path / "kept").glob("*/00001/scores.parquet").__next__().unlink()
    again = ShardStore(str(tmp_path / "kept"), {"a": 1}, tmp_path / "scratch")
    assert [again.has(shard) for shard in (0, 1, 2)] == [True, False, False]
    assert again.fetch(0, tmp_path / "copy") == []
    assert not list((tmp_path / "scratch").iterdir())


# ---------------------------------------------------------------- drift and its page


def test_report_tells_what_drifted_and_needs_nothing_else(photos, tmp_path):
    for path in sorted(photos.glob("day */[0-9]*")):  # enough faces that drift is no chance
        for copy in range(10):
            (tmp_path / "in").mkdir(exist_ok=True)
            shutil.copyfile(path, tmp_path / "in" / f"{path.stem}-{copy}{path.suffix}")
    first = write_served(tmp_path / "first", reference=flat_reference())
    run(first, tmp_path / "in", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "drift.json").read_text())
    assert found["drifts"]["face_px"]["verdict"] == "strong drift"  # 180 px, and the reference ends at 1
    assert found["drifts"]["face_px"]["distance"] == pytest.approx(1)
    assert found["statistics"]["face_px"] == {"low": 180, "median": 180, "high": 180}
    assert found["drift"].startswith("strong drift: ")
    page = (tmp_path / "out" / "drift.html").read_text()
    assert not re.search(r"<script|https?://|src=|@import|url\(", page)
    assert "faces version 1" in page
    assert "jpeg_quantisation" in page
    assert page.count("strong drift") > 1


def test_model_without_a_reference_is_scored_at_the_size_of_its_network(photos, tmp_path):
    bare = write_served(tmp_path / "bare")
    done = run(bare, photos, tmp_path / "out")
    assert done.document["drift"] == "not known: no reference came with the model"
    assert done.document["identity"]["cut"]["size"] == SIZE
    assert not [name for name in done.metrics() if name.startswith("drift/")]
    page = (tmp_path / "out" / "drift.html").read_text()
    assert "Not known" in page
    assert "Training" not in page


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "artifacts" / "network.onnx").unlink(), "the model's network is missing"),
        (lambda folder: (folder / "artifacts" / "network.onnx").write_bytes(b"x"), "not what was registered"),
        (lambda folder: (folder / "pinned.json").unlink(), r"pinned\.json: cannot be read"),
        (lambda folder: (folder / "MLmodel").write_text("flavors: {}"), "not a model that crossface"),
        (lambda folder: (folder / "artifacts" / "config.json").write_text('{"emotions": []}'), "emotions"),
        (lambda folder: (folder / "artifacts" / "reference.json").write_text("{}"), "not a reference"),
    ],
)
def test_folder_that_is_not_the_registered_model_is_refused(model, photos, tmp_path, harm, said):
    folder = shutil.copytree(model, tmp_path / "model")
    harm(folder)
    with pytest.raises(DataError, match=said):
        run(folder, photos, tmp_path / "out")


def test_shell(model, photos, tmp_path):
    (tmp_path / "config.yaml").write_text(f"source: {photos}\nworkers: 1\n")
    command = [sys.executable, "-m", "crossface.score", "--model", str(model), "--config"]
    command += [str(tmp_path / "config.yaml"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search(r"score: 22 faces; .*drift", done.stdout)
    schema = pq.read_schema(tmp_path / "out" / "part-00000.parquet")
    assert schema.equals(SCORE_SCHEMA)
    assert schema.field("capture").type == CAPTURE
    assert pa.types.is_float32(schema.field("fear").type)
