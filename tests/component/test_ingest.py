"""ingest: every layout with its traps, splits, and what happens when data are broken."""

import shutil
import subprocess
import sys
import zipfile

import layouts
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import config, run, stored

from crossface.data.emotions import EMOTION_INDEX, EMOTIONS
from crossface.data.records import RECORD_SCHEMA, RECORDS_FILE, open_records
from crossface.data.rejects import Reason
from crossface.errors import ConfigError, DataError
from crossface.ingest.config import IngestConfig
from crossface.ingest.ingest import ingest
from crossface.ingest.readers.face import Face
from crossface.ingest.splits import assign_splits

RAFDB = [(f"train_{number:05d}.jpg", str(number % 7 + 1)) for number in range(1, 15)] + [
    ("test_0001.jpg", "4")
]
EXPW = [f"photo_{number}.jpg 0 5 6 46 45 57.25 {number % 7}" for number in range(21)]
AFFECTNET = [layouts.affectnet_row(f"{number}/ab{number}.jpg", number % 7) for number in range(14)]
VALIDATION = [layouts.affectnet_row("3/cd1.JPG", 0), layouts.affectnet_row("3/cd2.png", 6)]


def csv_options(**more) -> dict:
    return {
        "file": "legend.csv",
        "path_column": "image",
        "label_column": "emotion",
        "image_dir": "images",
        **more,
    }


# ---------------------------------------------------------------- RAF-DB


def test_rafdb_row_says_what_was_published(tmp_path):
    rows, rejects = run(layouts.rafdb(tmp_path / "raf", RAFDB), "rafdb")
    assert not rejects
    row = rows["test_0001"]
    assert row["box"] == {"left": 10.5, "top": 5.25, "width": 30.0, "height": 40.0}
    assert row["attributes"] == {"gender": "female", "race": "asian", "age": "40-69"}
    assert row["image_uri"] == str(tmp_path / "raf" / "Image" / "original" / "test_0001.jpg")
    assert (row["split"], row["group"], row["raw_label"], row["votes"]) == (
        "test",
        "demo/test_0001",
        "4",
        None,
    )
    order = ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
    assert [EMOTIONS[rows[f"train_{number:05d}"]["emotion"]] for number in range(7, 14)] == order
    assert {row["split"] for name, row in rows.items() if name.startswith("train")} == {"train", "dev"}


@pytest.mark.parametrize(
    ("label", "words"), [("8", "compound"), ("11", "compound"), ("0", "1 to 7"), ("x", "1 to 7")]
)
def test_rafdb_label_outside_the_table_names_file_and_line(tmp_path, label, words):
    source = layouts.rafdb(tmp_path / "raf", [*RAFDB, ("train_00099.jpg", label)])
    with pytest.raises(DataError, match=rf"list_patition_label\.txt:16: label '{label}'.*{words}"):
        ingest(config(source, "rafdb"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rafdb_faults_of_single_faces_are_rejects(tmp_path):
    labels = [*RAFDB, ("../../up.jpg", "1"), ("train_00002.jpg", "4")]
    source = layouts.rafdb(tmp_path / "raf", labels)
    boxes, photos = source / "Annotation" / "boundingbox", source / "Image" / "original"
    (boxes / "train_00001_boundingbox.txt").write_text("40 5 10 45 ")
    (boxes / "train_00003_boundingbox.txt").write_text("nan 5 10 45 ")
    (boxes / "train_00004_boundingbox.txt").write_text("what")
    (boxes / "train_00005_boundingbox.txt").unlink()
    (source / "Annotation" / "manual" / "train_00006_manu_attri.txt").write_text("1.0\t2.0\n")
    (source / "Annotation" / "manual" / "train_00007_manu_attri.txt").unlink()
    (photos / "train_00008.jpg").unlink()
    (photos / "train_00009.jpg").write_bytes(b"")
    rows, rejects = run(source, "rafdb", max_reject_fraction=0.9)
    assert [(reject.reason, reject.stage) for reject in rejects] == [
        (reason, "ingest")
        for reason in (
            Reason.BAD_BOX,
            Reason.BAD_BOX,
            Reason.BAD_ROW,
            Reason.MISSING_FILE,
            Reason.BAD_ROW,
            Reason.MISSING_FILE,
            Reason.EMPTY_FILE,
            Reason.BAD_ROW,
            Reason.BAD_ROW,
        )
    ]
    assert "'../../up.jpg'" in rejects[-2].message
    assert "twice" in rejects[-1].message
    assert rows["train_00002"]["raw_label"] == "3"  # the first of the two
    assert rows["train_00007"]["attributes"] is None


# ---------------------------------------------------------------- ExpW


def test_expw_box_is_top_left_right_bottom_and_confidence_is_ignored(tmp_path):
    lines = [*EXPW, "two faces.jpg 1 3 -7 40 30 312.5 5", "two faces.jpg 2 3 20 44 30 -1.5 0"]
    rows, rejects = run(layouts.expw(tmp_path / "expw", lines), "expw")
    assert not rejects
    assert rows["two faces.jpg#1"]["box"] == {"left": -7.0, "top": 3.0, "width": 47.0, "height": 27.0}
    assert rows["two faces.jpg#1"]["emotion"] == EMOTION_INDEX["surprise"]
    assert rows["two faces.jpg#2"]["emotion"] == EMOTION_INDEX["anger"]
    assert rows["two faces.jpg#1"]["split"] == rows["two faces.jpg#2"]["split"]
    assert {row["split"] for row in rows.values()} == {"train", "dev", "test"}
    order = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
    assert [EMOTIONS[rows[f"photo_{number}.jpg#0"]["emotion"]] for number in range(7)] == order


def test_faces_of_a_photo_stand_together(tmp_path):
    lines = [EXPW[0], *EXPW[1:], EXPW[0].replace(" 0 5 ", " 1 5 ", 1)]
    rows, _ = run(layouts.expw(tmp_path / "expw", lines), "expw")
    assert list(rows)[:3] == ["photo_0.jpg#0", "photo_0.jpg#1", "photo_1.jpg#0"]


def test_expw_faults(tmp_path):
    lines = [
        *EXPW,
        "gone.jpg 0 5 6 46 45 57 3",
        "photo_0.jpg 1 5 46 46 45 57 3",
        "photo_0.jpg 2 5 x 46 45 57 3",
        "photo_0.jpg 0 5 6 46 45 57 3",
        "/etc/hostname 0 5 6 46 45 57 3",
        "a/../../photo_1.jpg 0 5 6 46 45 57 3",
        "short 3",
    ]
    rows, rejects = run(
        layouts.expw(tmp_path / "expw", lines, ["gone.jpg", "short 3"]), "expw", max_reject_fraction=0.5
    )
    assert len(rows) == len(EXPW)
    assert [reject.reason for reject in rejects] == [
        Reason.MISSING_FILE,
        Reason.BAD_BOX,
        *[Reason.BAD_ROW] * 5,
    ]
    assert rejects[5].uri.endswith("label.lst:27")


# ---------------------------------------------------------------- AffectNet


@pytest.mark.parametrize("header", [False, True])
def test_affectnet_sniffs_the_header_of_validation(tmp_path, header):
    source = layouts.affectnet(tmp_path / "aff", AFFECTNET, VALIDATION, header=header)
    rows, rejects = run(source, "affectnet")
    assert not rejects
    assert len(rows) == 16
    assert [name for name, row in rows.items() if row["split"] == "test"] == ["3/cd1.JPG", "3/cd2.png"]
    assert rows["3/cd1.JPG"]["box"] == {"left": 5.0, "top": 6.0, "width": 30.0, "height": 40.0}
    assert rows["3/cd1.JPG"]["group"] == "demo/3/cd1.JPG"
    order = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"]
    assert [EMOTIONS[rows[f"{number}/ab{number}.jpg"]["emotion"]] for number in range(7)] == order


def test_affectnet_labels_that_are_no_expression_do_not_count_against_the_limit(tmp_path):
    unused = [
        layouts.affectnet_row(f"9/{label}.jpg", label, "NULL,NULL,NULL,NULL") for label in (7, 8, 9, 10)
    ]
    source = layouts.affectnet(tmp_path / "aff", [*AFFECTNET, *unused * 10], VALIDATION)
    rows, rejects = run(source, "affectnet", max_reject_fraction=0.0)
    assert len(rows) == 16
    assert [reject.reason for reject in rejects] == [Reason.LABEL_NOT_USED] * 40


def test_affectnet_faults(tmp_path):
    row = layouts.affectnet_row
    rows = [row("1/w.jpg", 1, "5,6,-30,40"), row("1/z.jpg", 1, "5,6,30,0"), row("../x.jpg", 1), "1/a.jpg,5"]
    source = layouts.affectnet(tmp_path / "aff", [*AFFECTNET, *rows], VALIDATION)
    _, rejects = run(source, "affectnet", max_reject_fraction=0.5)
    assert [reject.reason for reject in rejects] == [Reason.BAD_BOX] * 2 + [Reason.BAD_ROW] * 2
    assert rejects[0].message == "box of -30 x 40 px has no area"
    assert rejects[3].uri.endswith("training.csv:19")


def test_affectnet_label_outside_the_table_and_another_layout(tmp_path):
    source = layouts.affectnet(tmp_path / "aff", AFFECTNET, [layouts.affectnet_row("1/q.jpg", 11)])
    with pytest.raises(DataError, match=r"validation\.csv:1: label '11'"):
        ingest(config(source, "affectnet"), tmp_path / "out")
    training = source / "Manually_Annotated_file_lists" / "training.csv"
    training.write_text(training.read_text().replace("face_x,face_y", "face_y,face_x", 1))
    with pytest.raises(DataError, match=r"training\.csv:1: columns are .*AffectNet 2017 has"):
        ingest(config(source, "affectnet"), tmp_path / "out")


# ---------------------------------------------------------------- csv

PEOPLE = [f"{name}_{number}.jpg" for name in ("Ann_Lee", "Bo", "Cy", "Di", "Ed") for number in range(4)]


def legend(names=PEOPLE) -> str:
    mixed = ("HAPPINESS", "neutral", " Anger ", "fear")
    return "user.id,image,emotion\r\n" + "".join(
        f"7,{name},{mixed[number % 4]}\r\n" for number, name in enumerate(names)
    )


def test_csv_legend_with_mixed_case_contempt_and_groups_from_names(tmp_path):
    text = legend() + "7,Ann_Lee_9.jpg,Contempt\r\n7,Ann_Lee_1.jpg,sadness\r\n\r\n"
    source = layouts.table(tmp_path / "real", text, [*PEOPLE, "Ann_Lee_9.jpg"])
    label_map = {name: name for name in EMOTIONS} | {"contempt": None}
    options = csv_options(label_map=label_map, group_pattern=r"^(.+)_\d+\.jpg$")
    rows, rejects = run(source, "csv", options=options)
    assert [reject.reason for reject in rejects] == [Reason.LABEL_NOT_USED]
    assert {row["group"] for row in rows.values()} == {
        f"demo/{name}" for name in ("Ann_Lee", "Bo", "Cy", "Di", "Ed")
    }
    assert rows["Ann_Lee_0.jpg"]["emotion"] == EMOTION_INDEX["happiness"]
    assert rows["Ann_Lee_2.jpg"] | {"split": None} == {
        "face_id": "demo/Ann_Lee_2.jpg",
        "dataset": "demo",
        "split": None,
        "emotion": EMOTION_INDEX["anger"],
        "raw_label": " Anger ",
        "image_uri": str(source / "images" / "Ann_Lee_2.jpg"),
        "box": None,
        "group": "demo/Ann_Lee",
        "votes": None,
        "attributes": None,
    }
    assert rows["Ann_Lee_1.jpg#23"]["emotion"] == EMOTION_INDEX["sadness"]  # a path that repeats


def test_csv_box_split_group_and_delimiter(tmp_path):
    lines = ["img;l;t;w;h;set;who;label"]
    sets = ("Training", "val", "TEST")
    lines += [
        f"sub/{number}.jpg;1;2.5;30;20;{sets[number % 3]};p{number};{number % 2}" for number in range(6)
    ]
    lines += ["sub/0.jpg;1;2;0;20;test;p2;1", "sub/0.jpg;1;2;3;20;train; ;1", "sub/0.jpg;1;2;3"]
    text = "\ufeff" + "\n".join(lines)  # as Excel writes it
    source = layouts.table(tmp_path / "t", text, [f"sub/{number}.jpg" for number in range(6)])
    options = csv_options(
        path_column="img",
        label_column="label",
        delimiter=";",
        box_columns=["l", "t", "w", "h"],
        split_column="set",
        group_column="who",
        label_map={0: "neutral", "1": "fear"},  # a YAML file gives numbers
    )
    rows, rejects = run(source, "csv", options=options, max_reject_fraction=0.5)
    assert [row["split"] for row in rows.values()] == ["train", "dev", "test"] * 2
    assert rows["sub/1.jpg"]["box"] == {"left": 1.0, "top": 2.5, "width": 30.0, "height": 20.0}
    assert (rows["sub/1.jpg"]["group"], rows["sub/1.jpg"]["emotion"]) == ("demo/p1", EMOTION_INDEX["fear"])
    assert [reject.reason for reject in rejects] == [Reason.BAD_BOX, Reason.BAD_ROW, Reason.BAD_ROW]


def test_csv_group_in_two_published_splits_is_an_error(tmp_path):
    text = "image,emotion,set,who\na.jpg,fear,train,Ann\nb.jpg,fear,test,Ann\n"
    source = layouts.table(tmp_path / "t", text, ["a.jpg", "b.jpg"])
    with pytest.raises(DataError, match=r"group 'Ann' is published in two splits, train and test"):
        run(source, "csv", options=csv_options(split_column="set", group_column="who"))


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("image,emotion\na.jpg,boredom\n", {}, r"legend\.csv:2: label 'boredom' .*surprise, fear"),
        (
            "image,emotion\na.jpg,fear\n",
            {"label_column": "label"},
            "column 'label' is not there.*image, emotion",
        ),
        ("image,emotion,emotion\na.jpg,fear,fear\n", {}, "column 'emotion' is there more than once"),
        ("", {}, "column 'image' is not there"),
        ("image,emotion\na.jpg,fear\n", {"group_pattern": "^(x+)"}, "matches no file name, not even 'a.jpg'"),
        ("image,emotion\na.jpg,fear\n", {"file": "labels.csv"}, r"labels\.csv is not there"),
        ("image,emotion\na.jpg,fear\n", {"image_dir": "pics"}, r"pics is not there .*image_dir"),
        ('image,emotion\n"a.jpg,fear\nb.jpg,fear\n', {}, r"legend\.csv:3: unexpected end of data"),
        ("image,emotion,set\na.jpg,fear,later\n", {"split_column": "set"}, "split 'later' is none of train"),
    ],
)
def test_csv_file_that_does_not_fit_its_options(tmp_path, text, options, words):
    source = layouts.table(tmp_path / "t", text, ["a.jpg"])
    with pytest.raises(DataError, match=words):
        run(source, "csv", options=csv_options(**options))


def test_csv_rows_that_are_hostile_or_not_text_are_rejects(tmp_path):
    bad = [
        "/etc/hostname",
        "../legend.csv",
        "a/../../x.jpg",
        "",
        ".",
        "n\0.jpg",
        "caf\udce9.jpg",
        "x" * 300 + ".jpg",
    ]
    text = legend() + "".join(f"7,{path},fear\n" for path in bad) + "7,Bo_1.jpg, \n"
    source = layouts.table(tmp_path / "t", text, PEOPLE)
    rows, rejects = run(source, "csv", options=csv_options(), max_reject_fraction=0.5)
    assert len(rows) == len(PEOPLE)
    assert [reject.reason for reject in rejects] == [Reason.BAD_ROW] * 7 + [
        Reason.MISSING_FILE,
        Reason.BAD_ROW,
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"options": csv_options(label_map={"a": "joy"})}, "options.label_map: 'a' is mapped to 'joy'"),
        (
            {"options": csv_options(label_map={"Joy": "fear", "joy ": "fear"})},
            "'joy' is mapped more than once",
        ),
        ({"options": csv_options(group_pattern="^(a")}, "options.group_pattern: not a regular expression"),
        ({"options": csv_options(group_pattern="^a")}, "needs one parenthesis"),
        ({"options": csv_options(group_pattern="(a)", group_column="g")}, "exclude each other"),
        ({"options": csv_options(paths="x")}, "options.paths: unknown key"),
        ({}, "format csv needs options"),
        ({"format": "expw", "options": csv_options()}, "format expw takes no options"),
        ({"format": "rafdb", "options": {"photos": "cropped"}}, "options.photos: Input should be 'original'"),
        ({"format": "ferplus", "options": {"mode": "vote"}}, "options.mode: Input should be 'majority'"),
        ({"format": "auto", "options": {"mode": "majority"}}, "format auto takes no options"),
        ({"format": "fer"}, "format: no reader of this name; there are rafdb, expw, affectnet, fer2013"),
        ({"key": "Raf DB"}, "key: String should match pattern"),
        ({"dev_fraction": 0}, "dev_fraction: Input should be greater than 0"),
    ],
)
def test_configuration_is_refused_by_key(changes, line):
    with pytest.raises(ConfigError) as caught:
        IngestConfig.parse({"key": "demo", "format": "csv", "source": "x", **changes})
    assert line in str(caught.value)


# ---------------------------------------------------------------- splits


def face(name: str, group: str, emotion: int) -> Face:
    return Face(name=name, photo=name, emotion=emotion, raw_label="", group=group)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), min_size=1, max_size=40),
    st.integers(0, 5),
    st.floats(0.05, 0.4),
)
def test_groups_never_straddle_and_small_data_leave_no_split_empty(rows, seed, fraction):
    faces = [face(str(number), f"g{group}", emotion) for number, (group, emotion) in enumerate(rows)]
    splits = assign_splits(faces, fraction, fraction, seed)
    split_of: dict[str, set] = {}
    for one, split in zip(faces, splits, strict=True):
        split_of.setdefault(one.group, set()).add(split)
    assert all(len(found) == 1 for found in split_of.values())
    for emotion in {one.emotion for one in faces}:
        if len({one.group for one in faces if one.emotion == emotion}) >= 3:
            assert "test" in {
                split for one, split in zip(faces, splits, strict=True) if one.emotion == emotion
            }
    if len(split_of) >= 2:
        assert "test" in splits


def test_splits_have_their_share_and_more_data_move_no_face(tmp_path):
    faces = [face(str(number), f"g{number // 2}", number % 7) for number in range(6000)]
    few, many = assign_splits(faces[:3000], 0.1, 0.15, 7), assign_splits(faces, 0.1, 0.15, 7)
    assert many[:3000] == few
    shares = [many.count(split) / 6000 for split in ("train", "dev", "test")]
    assert shares == pytest.approx([0.85 * 0.9, 0.85 * 0.1, 0.15], abs=0.02)
    other = assign_splits(faces, 0.1, 0.15, 8)
    assert sum(a != b for a, b in zip(many, other, strict=True)) > 1000


# ---------------------------------------------------------------- failures and output


@pytest.mark.parametrize(
    ("form", "parts"),
    [
        ("rafdb", ["EmoLabel/list_patition_label.txt", "Annotation/boundingbox", "Image/original"]),
        ("expw", ["data/label/label.lst", "data/image/origin"]),
        ("affectnet", ["Manually_Annotated_file_lists/validation.csv", "Manually_Annotated_Images"]),
    ],
)
def test_missing_part_of_a_layout_is_named(tmp_path, form, parts):
    sources = {
        "rafdb": lambda root: layouts.rafdb(root, RAFDB),
        "expw": lambda root: layouts.expw(root, EXPW),
        "affectnet": lambda root: layouts.affectnet(root, AFFECTNET, VALIDATION),
    }
    source = sources[form](tmp_path / form)
    for part in parts:
        (source / part).rename(tmp_path / "away")
        with pytest.raises(DataError, match=f"^demo: {source / part} is not there"):
            ingest(config(source, form), tmp_path / "out")
        (tmp_path / "away").rename(source / part)


def test_source_that_does_not_exist(tmp_path):
    with pytest.raises(DataError, match=f"^demo: source {tmp_path / 'no'} is not there$"):
        ingest(config(tmp_path / "no", "expw"), tmp_path / "out")


def test_archive_gives_the_same_faces_and_its_photos_travel_with_the_records(tmp_path):
    lines = [*EXPW, "photo_0.jpg 1 5 6 46 45 57.25 3"]  # a second face in a photo
    source = layouts.expw(tmp_path / "expw", lines, missing=["photo_3.jpg"])
    folder, _ = run(source, "expw")
    archive = tmp_path / "expw.zip"
    shutil.make_archive(str(archive.with_suffix("")), "zip", tmp_path, "expw")
    rows, rejects = run(archive, "auto")
    assert [{**row, "image_uri": ""} for row in rows.values()] == [
        {**row, "image_uri": ""} for row in folder.values()
    ]
    assert stored(tmp_path / "out", rows["photo_0.jpg#1"]) == layouts.encoded("photo_0.jpg")
    assert rows["photo_0.jpg#1"]["image_uri"] == rows["photo_0.jpg#0"]["image_uri"]
    with zipfile.ZipFile(tmp_path / "out" / "photos-00000.zip") as store:
        assert sorted(store.namelist()) == sorted(
            {f"data/image/origin/photo_{n}.jpg" for n in range(21)} - {"data/image/origin/photo_3.jpg"}
        )
    assert [reject.uri for reject in rejects] == [f"{archive}/data/image/origin/photo_3.jpg"]
    shutil.make_archive(str(archive.with_suffix("")), "zip", source)  # without a folder around the layout
    assert run(archive, "expw")[0] == rows
    digest = ingest(config(archive, "expw"), tmp_path / "out").digest
    (source / "data/image/origin/photo_1.jpg").write_bytes(layouts.encoded("another"))
    shutil.make_archive(str(archive.with_suffix("")), "zip", tmp_path, "expw")
    assert ingest(config(archive, "expw"), tmp_path / "out").digest != digest  # the photos count too
    (source / "data/label/label.lst").write_text("photo_0.jpg 0 5 6 46 45 57 9\n")
    shutil.make_archive(str(archive.with_suffix("")), "zip", tmp_path, "expw")
    with pytest.raises(DataError, match=rf"^demo: {archive}/data/label/label\.lst:1: label '9' is outside"):
        run(archive, "expw")


def test_reject_limit_is_the_greatest_share_allowed(tmp_path):
    source = layouts.expw(tmp_path / "expw", EXPW[:20], missing=["photo_19.jpg"])  # 1 of 20
    assert len(run(source, "expw", max_reject_fraction=0.05)[0]) == 19
    with pytest.raises(
        DataError, match=r"1 of 20 faces rejected \(5\.0%.*missing_file, as in .*photo_19\.jpg"
    ):
        run(source, "expw", max_reject_fraction=0.049)


def test_empty_dataset_and_empty_splits(tmp_path):
    with pytest.raises(DataError, match=r"demo: .*no face at all"):
        ingest(config(layouts.expw(tmp_path / "none", []), "expw"), tmp_path / "out")
    with pytest.raises(DataError, match=r"no face in split test \(train \d+, dev \d+, test 0\)"):
        ingest(config(layouts.rafdb(tmp_path / "raf", RAFDB[:-1]), "rafdb"), tmp_path / "out")
    with pytest.raises(DataError, match=r"no face in split dev and test"):
        ingest(config(layouts.expw(tmp_path / "one", EXPW[:1]), "expw"), tmp_path / "out")


def test_output_has_the_schema_counts_every_face_and_repeats_itself(tmp_path):
    source = layouts.expw(tmp_path / "expw", EXPW, missing=["photo_3.jpg"])
    first = ingest(config(source, "expw"), tmp_path / "a")
    again = ingest(config(source, "expw", revision="2"), tmp_path / "b")
    assert pq.read_schema(tmp_path / "a" / RECORDS_FILE).equals(RECORD_SCHEMA)
    assert (tmp_path / "a" / RECORDS_FILE).read_bytes() == (tmp_path / "b" / RECORDS_FILE).read_bytes()
    assert first.digest == again.digest
    assert len(first.digest) == 32
    metrics = first.metrics()
    rows = open_records(tmp_path / "a").read().to_pylist()
    assert metrics["faces"] == 20 == sum(metrics[f"faces/{split}"] for split in ("train", "dev", "test"))
    fear = [row for row in rows if row["split"] == "train" and row["emotion"] == EMOTION_INDEX["fear"]]
    assert metrics["faces/train/fear"] == len(fear)
    assert metrics["rejects/missing_file"] == 1.0
    assert all(type(value) is float for value in metrics.values())


def test_shell_prints_a_summary_or_one_line(tmp_path):
    source = layouts.expw(tmp_path / "expw", EXPW)
    file = tmp_path / "config.yaml"
    command = [
        sys.executable,
        "-m",
        "crossface.ingest",
        "--config",
        str(file),
        "--out",
        str(tmp_path / "out"),
    ]
    file.write_text(f"key: demo\nformat: expw\nsource: {source}\n")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "ingest demo: 21 faces" in done.stdout
    file.write_text(f"key: demo\nformat: expw\nsource: {source}x\n")
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert "is not there" in failed.stderr
