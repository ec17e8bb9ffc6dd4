"""Readers of layouts that anybody uses: folders of photos, and Parquet files with pictures in them."""

import io
import json
from pathlib import Path

import layouts
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import encoded, run, stored

from crossface.data.emotions import EMOTION_INDEX, EMOTIONS
from crossface.data.rejects import Reason
from crossface.data.tree import LocalTree
from crossface.errors import DataError
from crossface.ingest.readers.parquet import ParquetImages, ParquetOptions

# ---------------------------------------------------------------- folders

HABITS = {  # how folders are called in the wild
    "Angry": "anger",
    "disgusted": "disgust",
    "FEARFUL": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "Suprise": "surprise",
    "neutral": "neutral",
}


def test_folders_of_emotions_with_the_usual_names(tmp_path):
    paths = [f"{name}/{number}.jpg" for name in HABITS for number in range(9)]
    source = layouts.imagefolder(tmp_path / "faces", [*paths, "contempt/1.jpg", "happy/Ann/deep.PNG"])
    for clutter in (".DS_Store", "happy/.hidden.jpg", "happy/Thumbs.db", "README.md", "__MACOSX/happy/1.jpg"):
        (source / clutter).parent.mkdir(parents=True, exist_ok=True)
        (source / clutter).write_bytes(b"x")
    rows, rejects = run(source, "imagefolder")
    assert rows.keys() == {*paths, "happy/Ann/deep.PNG"}
    assert {name: EMOTIONS[rows[f"{name}/0.jpg"]["emotion"]] for name in HABITS} == HABITS
    assert rows["Angry/0.jpg"]["raw_label"] == "Angry"
    assert rows["Angry/0.jpg"]["image_uri"] == str(source / "Angry" / "0.jpg")
    assert {row["split"] for row in rows.values()} == {"train", "dev", "test"}
    assert [(reject.reason, reject.uri) for reject in rejects] == [
        (Reason.LABEL_NOT_USED, str(source / "contempt" / "1.jpg"))
    ]


@pytest.mark.parametrize(
    ("tops", "splits"),
    [
        (("Train", "validation", "TEST"), {"Train": {"train"}, "validation": {"dev"}, "TEST": {"test"}}),
        (("train", "test"), {"train": {"train", "dev"}, "test": {"test"}}),
        (("train", "val"), {"train": {"train", "dev"}, "val": {"test"}}),
    ],
)
def test_folders_of_splits_are_kept_and_dev_is_cut_from_train(tmp_path, tops, splits):
    paths = [f"{top}/{name}/{number}.jpg" for top in tops for name in ("happy", "sad") for number in range(9)]
    rows, _ = run(layouts.imagefolder(tmp_path / "faces", paths), "imagefolder")
    for top, expected in splits.items():
        assert {row["split"] for path, row in rows.items() if path.startswith(f"{top}/")} == expected


def test_folder_names_and_groups_by_option(tmp_path):
    paths = [
        f"{label}/{who}_{n}.jpg" for label in "016" for who in ("Ann", "Bo", "Cy", "Di") for n in range(2)
    ]
    source = layouts.imagefolder(tmp_path / "faces", paths)
    label_map = {0: "neutral", 1: "fear", "6": None}
    options = {"label_map": label_map, "group_pattern": r"^(\w+)_"}
    rows, rejects = run(source, "imagefolder", options=options)
    assert {row["group"] for row in rows.values()} == {"demo/Ann", "demo/Bo", "demo/Cy", "demo/Di"}
    assert rows["1/Bo_1.jpg"]["emotion"] == EMOTION_INDEX["fear"]
    assert len(rejects) == 8
    with pytest.raises(DataError, match=r"folder '0' is no emotion; known are surprise, .*option label_map"):
        run(source, "imagefolder")
    with pytest.raises(DataError, match=r"matches no file name, not even 'Ann_0\.jpg'"):
        run(source, "imagefolder", options={**options, "group_pattern": "^(x+)-"})


def test_folder_faults_and_odd_names(tmp_path):
    odd = ["sad/two words.jpg", "sad/new\nline.jpg", "sad/größe ☺.jpg", "sad/noending"]
    paths = [f"{name}/{number}.jpg" for name in ("happy", "sad") for number in range(9)]
    source = layouts.imagefolder(tmp_path / "faces", [*paths, *odd])
    (source / "sad" / "empty.jpg").write_bytes(b"")
    (source / "sad" / "caf\udce9.jpg").write_bytes(b"x")
    (source / "sad" / "d\udce9").mkdir()
    (source / "sad" / "d\udce9" / "1.jpg").write_bytes(b"x")
    (source / "sad" / "dangling.jpg").symlink_to(source / "nowhere.jpg")
    (source / "sad" / "again").symlink_to(source / "sad")  # a circle
    (source / "sad" / "linked").symlink_to(source / "happy")
    rows, rejects = run(source, "imagefolder", max_reject_fraction=0.5)
    assert {*odd} < rows.keys()
    assert len(rows) == len(paths) + len(odd) + 9
    assert rows["sad/linked/0.jpg"]["emotion"] == EMOTION_INDEX["sadness"]
    assert [(reject.reason, reject.uri.rpartition("/")[2]) for reject in rejects] == [
        (Reason.BAD_ROW, r"caf\udce9.jpg"),
        (Reason.EMPTY_FILE, "empty.jpg"),
        (Reason.BAD_ROW, "1.jpg"),
    ]
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"none: no folders here; a folder for each emotion"):
        run(tmp_path / "none", "imagefolder")


# ---------------------------------------------------------------- Parquet

NAMES = ["Neutral", "happy", "sad", "contempt"]


def table(labels, *, names=NAMES, first=0, **columns) -> pa.Table:
    """Pictures as Hugging Face ``datasets`` writes them; ``names`` None: without metadata."""
    images = [
        {"bytes": encoded(f"{first + number}"), "path": f"{number}.JPG"} for number in range(len(labels))
    ]
    data = pa.table({"image": images, "label": labels, **columns})
    if names is None:
        return data
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    return data.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def write(root: Path, **tables: pa.Table) -> Path:
    """Tables by path; ``__`` stands for a slash."""
    for name, data in tables.items():
        path = root / (name.replace("__", "/") + ".parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(data, path)
    return root


def test_parquet_of_hugging_face(tmp_path):
    train = table([0, 1, 2, 0, 1, 2, 0, 1, 2, 3])
    more = table([1, 1], first=100)
    test = table([0, 1, -1, 2], first=200)
    names = {"data__train-00000-of-00002": train, "data__train-00001-of-00002": more}
    source = write(tmp_path / "hub", **names, **{"data__test-00000-of-00001": test})
    rows, rejects = run(source, "auto", max_reject_fraction=0.5)
    assert len(rows) == 14
    face = rows["data/train-00000-of-00002/0000004.jpg"]
    assert (EMOTIONS[face["emotion"]], face["raw_label"], face["box"]) == ("happiness", "happy", None)
    assert stored(tmp_path / "out", face) == encoded("4")
    assert {row["split"] for name, row in rows.items() if "train" in name} == {"train", "dev"}
    assert {row["split"] for name, row in rows.items() if "test" in name} == {"test"}
    assert [(reject.reason, reject.uri.rpartition("/")[2]) for reject in rejects] == [
        (Reason.BAD_ROW, "test-00000-of-00001.parquet#2"),
        (Reason.LABEL_NOT_USED, "train-00000-of-00002.parquet#9"),
    ]


def test_parquet_copies_stay_together_and_groups_come_from_a_column(tmp_path):
    labels = [0, 1] * 10
    data = table(labels, who=[f"p{number % 5}" for number in range(20)])
    copies = pa.concat_tables([data, data])
    source = write(tmp_path / "hub", faces=copies)
    rows, _ = run(source, "parquet")
    assert rows["faces/0000003.jpg"]["group"] == rows["faces/0000023.jpg"]["group"]
    assert len({row["group"] for row in rows.values()}) == 20
    assert {row["split"] for row in rows.values()} == {"train", "dev", "test"}
    rows, _ = run(source, "parquet", options={"group_column": "who"})
    assert {row["group"] for row in rows.values()} == {f"demo/p{number}" for number in range(5)}


def test_parquet_text_labels_bytes_column_and_split_column(tmp_path):
    pictures = [encoded(str(number)) for number in range(12)]
    sets = ["train"] * 8 + ["validation"] * 2 + ["test"] * 2
    data = pa.table({"id": range(12), "photo": pictures, "emotion": ["Joy ", "anger"] * 6, "set": sets})
    source = write(tmp_path / "t", part=data)
    rows, _ = run(source, "parquet", options={"split_column": "set"})
    assert [row["split"] for row in rows.values()] == ["train"] * 8 + ["dev"] * 2 + ["test"] * 2
    assert EMOTIONS[rows["part/0000000"]["emotion"]] == "happiness"
    assert stored(tmp_path / "out", rows["part/0000011"]) == pictures[11]


def test_parquet_numbers_need_names(tmp_path):
    source = write(
        tmp_path / "t", train__0000=table([3, 4] * 9, names=None), test__0000=table([3], names=None)
    )
    with pytest.raises(
        DataError, match=r"0000\.parquet: column 'label' has numbers .* give option label_map"
    ):
        run(source, "parquet")
    rows, _ = run(source, "parquet", options={"label_map": {3: "fear", 4: "anger"}})
    assert {EMOTIONS[row["emotion"]] for row in rows.values()} == {"fear", "anger"}
    assert rows["test/0000/0000000.jpg"]["split"] == "test"
    with pytest.raises(DataError, match=r"0000\.parquet#1: label '4' is outside .*known are 3"):
        run(source, "parquet", options={"label_map": {3: "fear"}})


def test_parquet_rows_without_a_picture_or_a_label(tmp_path):
    images = [{"bytes": encoded(str(number)), "path": None} for number in range(9)]
    images += [{"bytes": None, "path": "a.jpg"}, {"bytes": b"", "path": "b.jpg"}, None, images[0]]
    labels = ["happy", "sad", "fear"] * 3 + ["fear"] * 3 + [None]
    source = write(tmp_path / "t", data__all=pa.table({"image": images, "label": labels}))
    _, rejects = run(source, "parquet", max_reject_fraction=0.5)
    assert [(reject.reason, reject.uri.rpartition("#")[2]) for reject in rejects] == [
        (Reason.MISSING_FILE, "9"),
        (Reason.EMPTY_FILE, "10"),
        (Reason.MISSING_FILE, "11"),
        (Reason.BAD_ROW, "12"),
    ]


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        ({"label": ["fear"]}, {}, "option image_column is needed: no such column is found; there are label"),
        ({"a": [b"1"], "b": [b"1"], "label": ["fear"]}, {}, "image_column is needed: several .* a, b;"),
        ({"a": [b"1"]}, {}, "option label_column is needed: no such column"),
        (
            {"a": [b"1"], "label": ["fear"]},
            {"label_column": "class"},
            "column 'class' is not there; .* a, label",
        ),
        ({"a": [b"1"], "label": ["fear"]}, {"group_column": "who"}, "column 'who' is not there"),
        ({"a": [b"1"], "label": ["fear"]}, {"image_column": "label"}, "column 'label' is string, no"),
        ({"a": [b"1"], "label": ["boredom"]}, {}, r"part\.parquet#0: label 'boredom' is outside"),
        ({"a": [b"1"], "label": ["fear"], "s": ["x"]}, {"split_column": "s"}, "split 'x' is none of train"),
        ({"a": [b"1"], "label": ["fear"]}, {"folder": "sub"}, r"t/sub: no \*\.parquet files here"),
    ],
)
def test_parquet_columns_that_cannot_be_found(tmp_path, columns, options, words):
    source = write(tmp_path / "t", part=pa.table(columns))
    with pytest.raises(DataError, match=words):
        run(source, "parquet", options=options)


def test_parquet_names_that_tell_only_some_splits_and_a_broken_file(tmp_path):
    source = write(tmp_path / "t", train=table([0, 1]), extra=table([0]))
    with pytest.raises(DataError, match=r"extra\.parquet: the name tells no split, while others do"):
        run(source, "parquet")
    (source / "extra.parquet").rename(source / "caf\udce9.parquet")
    with pytest.raises(DataError, match="is not UTF-8"):
        run(source, "parquet")
    (source / "caf\udce9.parquet").unlink()
    whole = (source / "train.parquet").read_bytes()
    (source / "train.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"train\.parquet: not a sound Parquet file: "):
        run(source, "parquet")


class Watched(io.FileIO):
    """A file that tells the longest piece that was asked of it."""

    longest = 0

    def read(self, size=-1):
        data = super().read(size)
        Watched.longest = max(Watched.longest, len(data))
        return data


def test_parquet_file_is_read_in_pieces(tmp_path, monkeypatch):
    """A row group as large as the file is the worst case for memory."""
    pictures = [bytes([number % 256]) * 400_000 for number in range(150)]
    data = pa.table({"image": pictures, "label": ["fear"] * len(pictures)})
    pq.write_table(
        data,
        tmp_path / "a.parquet",
        compression="none",
        use_dictionary=False,
        write_batch_size=4,  # a page, the least that can be read, has this many rows
    )
    del data
    monkeypatch.setattr(LocalTree, "open", lambda tree, name: Watched(tree.uri(name)))
    before, most = pa.total_allocated_bytes(), 0
    for face, picture in zip(
        ParquetImages(LocalTree(tmp_path), ParquetOptions()).read(), pictures, strict=True
    ):
        assert face.image == picture
        most = max(most, pa.total_allocated_bytes() - before)
    assert Watched.longest < 5_000_000  # of 60 MB
    assert most < 25_000_000
