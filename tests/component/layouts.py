"""Tiny datasets in the publishers' exact layouts, with real photos, and what ingest makes of them."""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from crossface.data.records import open_records
from crossface.data.rejects import Reject, read_rejects
from crossface.ingest.config import IngestConfig
from crossface.ingest.ingest import ingest

AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)
LANDMARKS = ";".join(f"{point}.5;{point + 1}.25" for point in range(68))


def config(source: Path | str, form: str, **more) -> IngestConfig:
    return IngestConfig.parse({"key": "demo", "format": form, "source": str(source), **more})


def run(
    source: Path | str, form: str, out: Path | None = None, **more
) -> tuple[dict[str, dict], list[Reject]]:
    """Ingest, into the folder ``out`` beside the source: rows by face_id without the prefix, and rejects."""
    out = out or Path(source).parent / "out"
    ingest(config(source, form, **more), out)
    rows = open_records(out).read().to_pylist()
    assert all(row["face_id"].startswith("demo/") and row["dataset"] == "demo" for row in rows)
    return {row["face_id"].removeprefix("demo/"): row for row in rows}, read_rejects(out)


def stored(out: Path, row: dict) -> bytes:
    """The photo of a record that ingest keeps beside the records."""
    store, _, name = row["image_uri"].removeprefix("store://").partition("/")
    return zipfile.ZipFile(out / store).read(name)


def photo(path: Path) -> None:
    """Write a real JPEG that is different for every name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(path.name))


def encoded(name: str, kind: str = "JPEG") -> bytes:
    """A real picture that is different for every name."""
    noise = np.random.default_rng(sum(name.encode())).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


def rafdb(
    root: Path,
    labels: Sequence[tuple[str, str]],
    *,
    box: str = "10.5 5.25 40.5 45.25 ",
    codes: tuple[str, str, str] = ("1", "2", "3"),
) -> Path:
    """RAF-DB basic: labels are (name, label)."""
    (root / "EmoLabel").mkdir(parents=True)
    (root / "EmoLabel" / "list_patition_label.txt").write_text(
        "".join(f"{name} {label}\n" for name, label in labels)
    )
    for folder in ("boundingbox", "manual"):
        (root / "Annotation" / folder).mkdir(parents=True)
    for name, _ in labels:
        photo(root / "Image" / "original" / name)
        stem = Path(name).stem
        (root / "Annotation" / "boundingbox" / f"{stem}_boundingbox.txt").write_text(box)
        (root / "Annotation" / "manual" / f"{stem}_manu_attri.txt").write_text(
            "".join(f"{point}.1\t{point}.2\n" for point in range(5)) + "\n".join(codes)
        )
    return root


def expw(root: Path, lines: Iterable[str], missing: Iterable[str] = ()) -> Path:
    """ExpW: lines of label.lst as published; a photo for each image name but the missing."""
    lines = list(lines)
    (root / "data" / "label").mkdir(parents=True)
    (root / "data" / "image" / "origin").mkdir(parents=True)
    (root / "data" / "label" / "label.lst").write_text("".join(f"{line}\n" for line in lines))
    for name in {line.rsplit(maxsplit=7)[0] for line in lines} - set(missing):
        if "/" not in name:
            photo(root / "data" / "image" / "origin" / name)
    return root


def affectnet_row(path: str, label: object, box: str = "5,6,30,40") -> str:
    """A row of an AffectNet list."""
    return f"{path},{box},{LANDMARKS},{label},-0.5,0.25"


def affectnet(
    root: Path, training: Sequence[str], validation: Sequence[str], *, header: bool = False
) -> Path:
    """AffectNet 2017: rows of the lists; ``header`` gives validation.csv one, as some copies have."""
    lists = root / "Manually_Annotated_file_lists"
    lists.mkdir(parents=True)
    (lists / "training.csv").write_text("\n".join([AFFECTNET_HEADER, *training]) + "\n")
    (lists / "validation.csv").write_text("\n".join([AFFECTNET_HEADER] * header + list(validation)) + "\n")
    for row in [*training, *validation]:
        path = row.partition(",")[0]
        if not path.startswith(("/", "..")):
            photo(root / "Manually_Annotated_Images" / path)
    return root


def table(root: Path, text: str, photos: Iterable[str], *, folder: str = "images") -> Path:
    """A csv dataset: the text of legend.csv, and photos under ``folder``."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "legend.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    for name in photos:
        photo(root / folder / name)
    return root


def rafdb_aligned(root: Path, labels: Iterable[tuple[str, str]]) -> Path:
    """Add the aligned photos to RAF-DB."""
    for name, _ in labels:
        photo(root / "Image" / "aligned" / name.replace(".jpg", "_aligned.jpg"))
    return root


def rafdb_kaggle(root: Path, labels: Mapping[str, Sequence[tuple[str, str]]]) -> Path:
    """RAF-DB as on Kaggle: labels are (image, label) for train and test."""
    for part, rows in labels.items():
        (root / "DATASET" / part).mkdir(parents=True)
        (root / f"{part}_labels.csv").write_text(
            "image,label\n" + "".join(f"{image},{label}\n" for image, label in rows)
        )
        for image, label in rows:
            photo(root / "DATASET" / part / label / image)
    return root


def affectnet_2021(root: Path, labels: Mapping[str, Mapping[str, object]]) -> Path:
    """AffectNet 2021: the value of each label, as NumPy saves it, by number, for train_set and val_set."""
    for part, label_of in labels.items():
        annotations = root / part / "annotations"
        annotations.mkdir(parents=True)
        for number, label in label_of.items():
            photo(root / part / "images" / f"{number}.jpg")
            np.save(annotations / f"{number}_exp.npy", label)
            for other in ("val", "aro"):
                np.save(annotations / f"{number}_{other}.npy", "-0.25")
            np.save(annotations / f"{number}_lnd.npy", np.zeros(136))
    return root


def fer2013_pixels(number: int) -> list[int]:
    """48 x 48 grey values that are different for every number."""
    return np.random.default_rng(number).integers(0, 256, 48 * 48).tolist()


def fer2013(root: Path, rows: Iterable[tuple[object, Sequence[int], str]]) -> Path:
    """FER2013: rows are (emotion, pixels, usage)."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "fer2013.csv").write_text(
        "emotion,pixels,Usage\n"
        + "".join(f"{label},{' '.join(map(str, pixels))},{usage}\n" for label, pixels, usage in rows)
    )
    return root


FERPLUS_HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def ferplus(root: Path, rows: Iterable[str]) -> Path:
    """Add the votes to FER2013: rows as published."""
    (root / "fer2013new.csv").write_text("\n".join([FERPLUS_HEADER, *rows]) + "\n")
    return root


def imagefolder(root: Path, paths: Iterable[str]) -> Path:
    """Photos at these paths."""
    for path in paths:
        photo(root / path)
    return root
