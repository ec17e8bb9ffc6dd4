"""Tiny datasets in the publishers' exact layouts, with real photos."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)
LANDMARKS = ";".join(f"{point}.5;{point + 1}.25" for point in range(68))


def photo(path: Path, size: tuple[int, int] = (60, 50)) -> None:
    """Write a real JPEG that is different for every name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(sum(path.name.encode())).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, "JPEG")


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
