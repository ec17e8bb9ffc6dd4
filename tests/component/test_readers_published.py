"""Readers of published datasets: each on its exact layout, with the traps that are in it."""

import io

import layouts
import numpy as np
import pytest
from layouts import config, run, stored
from PIL import Image

from crossface.data.emotions import EMOTION_INDEX, EMOTIONS
from crossface.data.rejects import Reason
from crossface.errors import ConfigError, DataError
from crossface.ingest.config import IngestConfig
from crossface.ingest.ingest import ingest
from crossface.ingest.readers.ferplus import CLASSES, counted_votes

RAFDB = [(f"train_{number:05d}.jpg", str(number % 7 + 1)) for number in range(1, 15)] + [
    ("test_0001.jpg", "4")
]

# ---------------------------------------------------------------- RAF-DB, aligned


def test_rafdb_takes_the_aligned_photos_where_they_are_all_there_is_or_asked_for(tmp_path):
    source = layouts.rafdb_aligned(layouts.rafdb(tmp_path / "raf", RAFDB), RAFDB)
    both, _ = run(source, "rafdb")
    assert both["test_0001"]["image_uri"].endswith("/Image/original/test_0001.jpg")
    assert both["test_0001"]["box"]
    asked, _ = run(source, "rafdb", options={"photos": "aligned"})
    for part in ("Image/original", "Annotation/boundingbox", "Annotation/manual"):
        (source / part).rename(tmp_path / part.replace("/", "-"))
    found, rejects = run(source, "rafdb")
    assert not rejects
    assert found["test_0001"]["image_uri"] == str(source / "Image" / "aligned" / "test_0001_aligned.jpg")
    assert found["test_0001"]["box"] is None
    assert found.keys() == both.keys()  # one name for a face, whichever photo it is read from
    assert [row["image_uri"] for row in found.values()] == [row["image_uri"] for row in asked.values()]
    assert asked["test_0001"]["attributes"] == both["test_0001"]["attributes"]
    with pytest.raises(DataError, match="Annotation/boundingbox is not there"):
        run(source, "rafdb", options={"photos": "original"})


def kaggle(numbers=range(14)) -> dict:
    return {
        "train": [(f"train_{number:05d}_aligned.jpg", str(number % 7 + 1)) for number in numbers],
        "test": [("test_0002_aligned.jpg", "1"), ("test_0003_aligned.jpg", "7")],
    }


def test_rafdb_of_kaggle_has_names_splits_and_labels_of_rafdb(tmp_path):
    rows, rejects = run(layouts.rafdb_kaggle(tmp_path / "raf", kaggle()), "rafdb")
    assert not rejects
    assert len(rows) == 16
    assert rows["test_0002"]["image_uri"].endswith("/DATASET/test/1/test_0002_aligned.jpg")
    assert (rows["test_0002"]["split"], rows["test_0002"]["emotion"]) == ("test", EMOTION_INDEX["surprise"])
    assert rows["train_00003"]["emotion"] == EMOTION_INDEX["happiness"]  # label 4
    assert {row["split"] for name, row in rows.items() if name.startswith("train")} == {"train", "dev"}


def test_rafdb_of_kaggle_faults(tmp_path):
    source = layouts.rafdb_kaggle(tmp_path / "raf", kaggle())
    train = source / "DATASET" / "train"
    (train / "1" / "train_00000_aligned.jpg").rename(train / "2" / "train_00000_aligned.jpg")
    with (source / "train_labels.csv").open("a") as file:
        file.write("test_0009_aligned.jpg,1\n../../up.jpg,1\ntrain_1.jpg\n")
    _, rejects = run(source, "rafdb", max_reject_fraction=0.9)
    assert [(reject.reason, reject.uri.rpartition("/")[2]) for reject in rejects] == [
        (Reason.MISSING_FILE, "train_00000_aligned.jpg"),  # it lies in the folder of another label
        (Reason.BAD_ROW, "train_labels.csv:16"),
        (Reason.BAD_ROW, "train_labels.csv:17"),
        (Reason.BAD_ROW, "train_labels.csv:18"),
    ]
    (source / "test_labels.csv").write_text("image,label\ntest_0002_aligned.jpg,8\n")
    with pytest.raises(DataError, match=r"test_labels\.csv:2: label '8'.*compound"):
        run(source, "rafdb")
    (source / "test_labels.csv").write_text("name,label\n")
    with pytest.raises(
        DataError, match=r"test_labels\.csv:1: columns are name, label instead of image, label"
    ):
        run(source, "rafdb")
    with pytest.raises(DataError, match="has no original photos"):
        run(source, "rafdb", options={"photos": "original"})


# ---------------------------------------------------------------- AffectNet 2021

LABELS_2021 = {
    "train_set": {number: str(number % 7) for number in range(14)} | {100: np.int64(2), 101: "7"},
    "val_set": {0: np.array(["6"]), 3: np.float64(1), 4: b"0"},
}


def test_affectnet_2021_labels_are_numbers_or_texts_and_numbers_repeat_between_the_sets(tmp_path):
    source = layouts.affectnet_2021(tmp_path / "aff", LABELS_2021)
    rows, rejects = run(source, "affectnet")
    assert [(reject.reason, reject.uri) for reject in rejects] == [
        (Reason.LABEL_NOT_USED, str(source / "train_set" / "images" / "101.jpg"))
    ]
    order = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"]
    assert [EMOTIONS[rows[f"train_set/{number}"]["emotion"]] for number in range(7)] == order
    assert EMOTIONS[rows["train_set/100"]["emotion"]] == "sadness"
    published = {name: row for name, row in rows.items() if row["split"] == "test"}
    assert {name: EMOTIONS[row["emotion"]] for name, row in published.items()} == {
        "val_set/0": "anger",
        "val_set/3": "happiness",
        "val_set/4": "neutral",
    }
    assert rows["val_set/0"]["image_uri"] == str(source / "val_set" / "images" / "0.jpg")
    assert rows["val_set/0"]["box"] is None
    assert rows["val_set/0"]["group"] != rows["train_set/0"]["group"]


def test_affectnet_2021_faults_and_a_pickle_is_never_opened(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    source = layouts.affectnet_2021(tmp_path / "aff", LABELS_2021)
    labels, photos = source / "train_set" / "annotations", source / "train_set" / "images"
    np.save(labels / "1_exp.npy", np.array(Evil(), dtype=object), allow_pickle=True)
    np.save(labels / "2_exp.npy", np.array([1, 2]))
    (labels / "3_exp.npy").write_bytes(b"")
    (labels / "4_exp.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'shape': (99")
    (labels / "5_exp.npy").unlink()
    (photos / "6.jpg").unlink()
    (photos / "7.jpg").write_bytes(b"")
    rows, rejects = run(source, "affectnet", max_reject_fraction=0.9)
    assert [(reject.reason, reject.uri.rpartition("/")[2]) for reject in rejects] == [
        (Reason.BAD_ROW, "1_exp.npy"),
        (Reason.BAD_ROW, "2_exp.npy"),
        (Reason.BAD_ROW, "3_exp.npy"),
        (Reason.BAD_ROW, "4_exp.npy"),
        (Reason.MISSING_FILE, "5.jpg"),
        (Reason.MISSING_FILE, "6.jpg"),
        (Reason.EMPTY_FILE, "7.jpg"),
        (Reason.LABEL_NOT_USED, "101.jpg"),
    ]
    assert not (tmp_path / "owned").exists()
    assert "train_set/0" in rows
    np.save(labels / "8_exp.npy", "11")
    with pytest.raises(DataError, match=r"8_exp\.npy: label '11' is outside"):
        run(source, "affectnet")


# ---------------------------------------------------------------- FER2013

USAGES = ["Training"] * 14 + ["PublicTest"] * 2 + ["PrivateTest"] * 2
FER = [(index % 7, layouts.fer2013_pixels(index), usage) for index, usage in enumerate(USAGES)]


def test_fer2013_pictures_labels_and_splits(tmp_path):
    rows, rejects = run(layouts.fer2013(tmp_path / "fer", FER), "fer2013")
    assert not rejects
    order = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
    assert [EMOTIONS[rows[f"row{number:05d}.png"]["emotion"]] for number in range(7)] == order
    splits = [row["split"] for row in rows.values()]
    assert splits == ["train"] * 14 + ["dev"] * 2 + ["test"] * 2
    for index in (0, 17):
        picture = Image.open(io.BytesIO(stored(tmp_path / "out", rows[f"row{index:05d}.png"])))
        assert picture.format == "PNG"
        assert picture.mode == "L"
        assert np.array_equal(np.array(picture), np.reshape(FER[index][1], (48, 48)))  # row by row


def test_fer2013_copies_are_one_group_and_a_copy_in_another_split_is_no_error(tmp_path):
    copies = [(3, FER[0][1], "Training"), (3, FER[0][1], "PrivateTest")]
    rows, _ = run(layouts.fer2013(tmp_path / "fer", [*FER, *copies]), "fer2013")
    groups = [rows[f"row{index:05d}.png"]["group"] for index in (0, 18, 19)]
    assert groups[0] == groups[1] != groups[2]


def test_fer2013_faults(tmp_path):
    pixels = FER[0][1]
    bad = [
        (0, pixels[:-1], "Training"),
        (0, [*pixels[1:], 256], "Training"),
        (0, [*pixels[1:], "x"], "Training"),
    ]
    source = layouts.fer2013(tmp_path / "fer", [*FER, *bad])
    with (source / "fer2013.csv").open("a") as file:
        file.write("3,1 2 3\n")
    rows, rejects = run(source, "fer2013", max_reject_fraction=0.9)
    assert len(rows) == len(FER)
    assert [(reject.reason, reject.uri.rpartition("/")[2]) for reject in rejects] == [
        (Reason.BAD_ROW, f"fer2013.csv:{line}") for line in (20, 21, 22, 23)
    ]
    assert rejects[0].message == "2303 pixels instead of 2304"
    for label, usage, words in [
        (7, "Training", r"fer2013\.csv:2: label '7' is outside"),
        (1, "Train", r"fer2013\.csv:2: usage 'Train' is none of Training, PublicTest, PrivateTest"),
    ]:
        with pytest.raises(DataError, match=words):
            run(layouts.fer2013(tmp_path / "fer", [(label, pixels, usage)]), "fer2013")
    (source / "fer2013.csv").write_text("emotion,Usage,pixels\n")
    with pytest.raises(DataError, match="columns are emotion, Usage, pixels instead of"):
        run(source, "fer2013")


# ---------------------------------------------------------------- FER+

PLUS = [  # rows of the published file, with its gap in the names: row 2 of these is not picture 60
    "Training,fer0000058.png,8,0,0,2,0,0,0,0,0,0",
    "Training,,0,0,0,0,0,0,0,0,0,10",
    "Training,fer0000059.png,8,0,2,0,0,0,0,0,0,0",
    "Training,fer0000003.png,4,0,0,4,1,0,0,0,1,0",
    "Training,fer0000133.png,5,0,0,0,1,0,0,4,0,0",
    "Training,fer0000219.png,3,3,0,0,0,0,0,4,0,0",
    "Training,fer0000007.png,0,10,0,0,0,0,0,0,0,0",
    "Training,fer0000082.png,5,0,1,0,0,0,0,0,4,0",
    *["Training,fer0000008.png,0,10,0,0,0,0,0,0,0,0"] * 6,
    "PublicTest,fer0028638.png,0,0,6,0,0,0,4,0,0,0",
    "PublicTest,fer0028639.png,0,10,0,0,0,0,0,0,0,0",
    "PrivateTest,fer0032220.png,0,1,0,9,0,0,0,0,0,0",
    "PrivateTest,fer0032221.png,0,0,0,0,0,0,0,10,0,0",
]


def shares(row: dict) -> dict[str, float]:
    return {name: share for name, share in zip(EMOTIONS, row["votes"], strict=True) if share}


def test_ferplus_is_joined_by_row_order_not_by_name(tmp_path):
    source = layouts.ferplus(layouts.fer2013(tmp_path / "fer", FER), PLUS)
    rows, rejects = run(source, "ferplus")
    assert {reject.reason for reject in rejects} == {Reason.LABEL_NOT_USED}
    picture = Image.open(io.BytesIO(stored(tmp_path / "out", rows["row00002.png"])))
    assert np.array_equal(np.array(picture).ravel(), FER[2][1])
    assert rows["row00002.png"]["emotion"] == EMOTION_INDEX["neutral"]
    assert rows["row00002.png"]["raw_label"] == "8,0,2,0,0,0,0,0,0,0"
    assert rows["row00014.png"]["split"] == "dev"
    not_used = {reject.uri.rpartition(":")[2]: reject.message for reject in rejects}
    assert not_used["3"].endswith("are for NF")
    assert not_used["5"].endswith("are for no one emotion")  # neutral 4, sadness 4
    assert not_used["19"].endswith("are for contempt")


def test_ferplus_modes(tmp_path):
    source = layouts.ferplus(layouts.fer2013(tmp_path / "fer", FER), PLUS)
    majority, _ = run(source, "ferplus", max_reject_fraction=0.0)
    spread, _ = run(source, "ferplus", options={"mode": "probability"})
    assert "row00003.png" not in majority
    assert spread["row00003.png"]["emotion"] == EMOTION_INDEX["neutral"]
    assert shares(spread["row00003.png"]) == {"neutral": 0.5, "sadness": 0.5}
    assert shares(spread["row00004.png"]) == {"neutral": 1.0}  # contempt 4 is none of the seven
    assert shares(majority["row00014.png"]) == pytest.approx({"surprise": 0.6, "fear": 0.4})
    assert "row00005.png" not in spread  # contempt leads
    assert "row00007.png" in majority  # neutral 5 of the 9 that count
    assert shares(majority["row00016.png"]) == {"sadness": 1.0}  # a single vote does not count


@pytest.mark.parametrize(
    ("votes", "majority", "probability"),
    [
        ((5, 0, 0, 5, 0, 0, 0, 0, 0, 0), None, (5, 0, 0, 5, 0, 0, 0, 0, 0, 0)),
        ((3, 0, 0, 3, 3, 0, 0, 0, 1, 0), None, (3, 0, 0, 3, 3, 0, 0, 0, 0, 0)),
        ((4, 3, 3, 0, 0, 0, 0, 0, 0, 0), None, (4, 3, 3, 0, 0, 0, 0, 0, 0, 0)),  # 4 is not three quarters
        ((8, 0, 0, 2, 0, 0, 0, 0, 0, 0), (8, 0, 0, 2, 0, 0, 0, 0, 0, 0), (8, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
        ((2, 2, 2, 2, 2, 0, 0, 0, 0, 0), None, None),  # too many emotions
        ((4, 2, 2, 2, 0, 0, 0, 0, 0, 0), None, None),  # three equal seconds are one too many
        ((1, 1, 1, 1, 1, 1, 1, 1, 1, 1), None, None),
        ((4, 0, 0, 0, 0, 0, 0, 0, 4, 2), None, None),  # unknown ties with neutral: 4 of 10
        ((3, 0, 0, 0, 0, 0, 0, 0, 4, 3), None, None),  # unknown leads, with too few
        ((2, 0, 0, 0, 0, 0, 0, 0, 7, 0), (2, 0, 0, 0, 0, 0, 0, 0, 7, 0), (0, 0, 0, 0, 0, 0, 0, 0, 7, 0)),
    ],
)
def test_ferplus_votes_that_count(votes, majority, probability):
    assert len(votes) == len(CLASSES)
    for mode, counted in (("majority", majority), ("probability", probability)):
        assert counted_votes(list(votes), mode) == (counted and list(counted)), mode


@pytest.mark.parametrize(
    ("plus", "words"),
    [
        (
            PLUS[:-1],
            r"fer2013\.csv: more rows than the 17 of fer2013new\.csv; the two are joined by row order",
        ),
        ([*PLUS, PLUS[-1]], r"fer2013new\.csv: more rows than the 18 of fer2013\.csv"),
        ([*PLUS[1:], PLUS[-1]], r"fer2013new\.csv:15: usage PublicTest where .*fer2013\.csv:15 has Training"),
    ],
)
def test_ferplus_tables_that_are_out_of_step(tmp_path, plus, words):
    source = layouts.ferplus(layouts.fer2013(tmp_path / "fer", FER), plus)
    with pytest.raises(DataError, match=words):
        run(source, "ferplus")


def test_ferplus_tables_in_another_order_within_a_split_are_found_by_their_labels(tmp_path):
    of_class = {3: 1, 4: 3, 5: 2, 6: 0}  # FER2013's label -> column of FER+
    labels = [3 + index // 80 for index in range(320)]
    source = layouts.fer2013(tmp_path / "fer", [(label, [0] * 2304, "Training") for label in labels])

    def votes(label: int) -> str:
        return "Training,x.png," + ",".join("9" if at == of_class[label] else "0" for at in range(10))

    layouts.ferplus(
        source, [votes(label) for label in labels[10:] + labels[:10]]
    )  # a few rows off: most agree
    with pytest.raises(DataError, match="no face in split"):  # read, and only then found to have one split
        run(source, "ferplus")
    layouts.ferplus(source, [votes(label) for label in labels[80:] + labels[:80]])
    with pytest.raises(DataError, match="only 0 of 320 clear votes agree with the labels of fer2013"):
        run(source, "ferplus")


def test_ferplus_faults(tmp_path):
    source = layouts.fer2013(tmp_path / "fer", FER)
    plus = [*PLUS]
    plus[8], plus[9] = "Training,x.png,a,0,0,0,0,0,0,0,0,0", "Training,x.png,10"
    _, rejects = run(layouts.ferplus(source, plus), "ferplus", max_reject_fraction=0.5)
    assert [(reject.uri.rpartition("/")[2]) for reject in rejects if reject.reason == Reason.BAD_ROW] == [
        "fer2013new.csv:10",
        "fer2013new.csv:11",
    ]
    (source / "fer2013new.csv").write_text("usage,name\n")
    with pytest.raises(DataError, match="columns are usage, name instead of Usage, Image name, neutral"):
        run(source, "ferplus")
    (source / "fer2013new.csv").unlink()
    with pytest.raises(DataError, match=r"fer2013new\.csv is not there \(the votes of FER\+\)"):
        run(source, "ferplus")


# ---------------------------------------------------------------- recognised by looking


def made(root, form):
    return {
        "rafdb": lambda: layouts.rafdb(root, RAFDB),
        "rafdb (kaggle)": lambda: layouts.rafdb_kaggle(root, kaggle()),
        "expw": lambda: layouts.expw(root, [f"p{n}.jpg 0 5 6 46 45 57.25 {n % 7}" for n in range(21)]),
        "affectnet": lambda: layouts.affectnet(
            root,
            [layouts.affectnet_row(f"{n}/a{n}.jpg", n % 7) for n in range(14)],
            [layouts.affectnet_row("3/c.jpg", 0)],
        ),
        "affectnet (2021)": lambda: layouts.affectnet_2021(root, LABELS_2021),
        "fer2013": lambda: layouts.fer2013(root, FER),
        "imagefolder": lambda: layouts.imagefolder(
            root, [f"{e}/{n}.jpg" for n in range(9) for e in EMOTIONS]
        ),
    }[form]()


@pytest.mark.parametrize(
    "form",
    ["rafdb", "rafdb (kaggle)", "expw", "affectnet", "affectnet (2021)", "fer2013", "imagefolder"],
)
def test_auto_reads_what_the_named_format_reads(tmp_path, form):
    source = made(tmp_path / "data", form)
    name = form.partition(" ")[0]
    summary = ingest(config(source, "auto"), tmp_path / "auto")
    assert summary.format == name
    assert f"faces, read as {name}" in str(summary)
    assert summary.digest == ingest(config(source, name), tmp_path / "named").digest


def test_auto_says_what_was_looked_for_and_what_is_there(tmp_path):
    source = layouts.imagefolder(tmp_path / "data", ["dogs/a.jpg", "cats/b.jpg"])
    with pytest.raises(DataError) as caught:
        run(source, "auto")
    text = str(caught.value)
    assert text.startswith(f"demo: {source} has cats/, dogs/, and no known layout; looked for\n")
    for words in (
        "rafdb: EmoLabel/list_patition_label.txt",
        "rafdb: DATASET/{train,test}/{1..7}",
        "expw: data/label/label.lst",
        "affectnet: Manually_Annotated_file_lists/training.csv",
        "affectnet: train_set and val_set",
        "fer2013: fer2013.csv",
        "ferplus: fer2013.csv, and fer2013new.csv",
        "imagefolder: a folder for each emotion",
        "parquet: *.parquet",
        "csv: ",
    ):
        assert f"\n  {words}" in text
    with pytest.raises(
        DataError, match=r"(?s)has cats/, dogs/.*affectnet: Manually.*affectnet: train_set"
    ) as caught:
        run(source, "affectnet")
    assert "expw" not in str(caught.value)


def test_auto_does_not_choose_between_formats(tmp_path):
    source = layouts.ferplus(layouts.fer2013(tmp_path / "fer", FER), PLUS)
    with pytest.raises(DataError, match="several formats fit, so name one: fer2013, ferplus"):
        run(source, "auto")


def test_options_survive_kfp_and_belong_to_their_format():
    for form, options in (
        ("rafdb", {"photos": "aligned"}),
        ("ferplus", {"mode": "probability"}),
        ("imagefolder", {"label_map": {"0": "neutral", "7": None}}),
        ("parquet", {"folder": "faces/", "label_map": {1: "fear"}}),
    ):
        config = IngestConfig.parse({"key": "a", "format": form, "source": "x", "options": options})
        again = config.model_dump(mode="json", exclude_none=True)
        assert IngestConfig.parse(again) == config
    with pytest.raises(ConfigError, match=r"^options\.mode: unknown key$"):
        IngestConfig.parse({"key": "a", "format": "rafdb", "source": "x", "options": {"mode": "majority"}})
