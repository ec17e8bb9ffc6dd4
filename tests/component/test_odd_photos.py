"""Every odd or hostile photo ends as a right crop or as a reject with its reason, in bounded memory."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from odd_photos import Look, Odd, make
from PIL import Image

from crossface.data.crops import open_crops
from crossface.data.rejects import Reject, read_rejects

HEADER = ("path", "label", "left", "top", "width", "height")
PEAK_BYTES = 1_200_000_000  # a photo of 100 million pixels and its RGB copy are 800 MB
SECONDS = 60
SIZE = 32
TOLERANCE = 14

# in a process of its own, whose memory can be measured
STEPS = """
import json, sys
from pathlib import Path
from crossface.crop_faces.config import CropConfig
from crossface.crop_faces.crop import crop_faces
from crossface.ingest.config import IngestConfig
from crossface.ingest.ingest import ingest

config, out = json.loads(sys.argv[1]), Path(sys.argv[2])
ingest(IngestConfig.parse(config), out / "records")
crop_faces(out / "records", CropConfig(size=32, margin=0, max_reject_fraction=1, workers=1), out / "crops")
print(1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]))
"""


def write_table(folder: Path, faces: list[Odd]) -> None:
    """A face a row, in the order of the corpus."""
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(HEADER)
        for odd in faces:
            table.writerow((odd.name, "fear", *(odd.box or (0, 0, 50, 50))))


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> tuple[list[Odd], list, int]:
    """What was made, how each face ended, and the peak memory in bytes."""
    root = tmp_path_factory.mktemp("odd")
    faces = make(root / "photos")
    write_table(root / "photos", faces)
    options = {
        "file": "labels.csv",
        "path_column": "path",
        "label_column": "label",
        "box_columns": HEADER[2:],
    }
    config = {
        "key": "odd",
        "format": "csv",
        "source": str(root / "photos"),
        "options": options,
        "max_reject_fraction": 1,
    }
    command = [sys.executable, "-c", STEPS, json.dumps(config), str(root / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    crops = open_crops([root / "out" / "crops"]).to_table().to_pylist()
    return faces, [*crops, *read_rejects(root / "out" / "crops")], json.loads(done.stdout.splitlines()[-1])


def test_every_odd_photo_is_a_right_crop_or_a_reject_with_its_reason(ended):
    faces, outcomes, peak = ended
    assert len(faces) >= 60
    assert len(outcomes) == len(faces)  # nothing is lost, nothing is there twice
    crops = {row["face_id"].removeprefix("odd/"): row for row in outcomes if isinstance(row, dict)}
    reasons = {name_of(reject): reject.reason for reject in outcomes if not isinstance(reject, dict)}
    wrong = []
    for odd in faces:
        if odd.name in crops:
            right = odd.look is not None and shows(crops[odd.name], odd.look)
            wrong += [] if right else [f"{odd.name!r}: a crop that should not be, or of something else"]
        elif reasons[odd.name] not in odd.reasons:
            wrong.append(f"{odd.name!r}: {reasons[odd.name]}")
    assert not wrong
    assert peak < PEAK_BYTES


def name_of(reject: Reject) -> str:
    return reject.uri.rpartition("/photos/")[2]


def shows(row: dict, look: Look) -> bool:
    """Whether the middles of a crop's quarters have the colours; JPEG is allowed some levels."""
    crop = Image.open(io.BytesIO(row["image"]["bytes"]))
    assert (crop.mode, crop.size) == ("RGB", (SIZE, SIZE))
    pixels = np.asarray(crop).astype(float)
    middles = [
        pixels[y : y + 8, x : x + 8].mean(axis=(0, 1))
        for y in (SIZE // 8, SIZE * 5 // 8)
        for x in (SIZE // 8, SIZE * 5 // 8)
    ]
    return bool(np.abs(np.subtract(middles, look)).max() < TOLERANCE)
