"""How fast are photos turned into crops, beside plain loops and beside the decoder alone?

Photos of 100 px, 800 px and 12 million pixels, one face each, of any size from 300 to 1200 px in the largest.
They are real photographs (those of scikit-learn), enlarged and with the noise of a sensor, so that a decoder
has as much to do as with a camera's file. The loops do the least that gives a crop; crop_faces also checks
the photo, measures it, hashes it and writes Parquet, and the start of its processes counts. The decoder's
limit is the fastest of Pillow, OpenCV and simplejpeg (if it is installed) decoding the whole photo, at the
scale that crop_faces chooses, and nothing else. crop_faces can be faster: it does not decode the rows below
the face.

All are timed in turn, in one run, and the best of the turns counts, so that what else the machine does
matters little.
"""

import csv
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from report import arguments, table, write_ratios

from crossface.crop_faces.config import CropConfig
from crossface.crop_faces.crop import crop_faces
from crossface.crop_faces.rows import crop_row
from crossface.cropping.capture import capture_statistics, perceptual_hashes
from crossface.cropping.faces import cut_photo
from crossface.cropping.photo import Photo
from crossface.cropping.square import Box, Square
from crossface.data.crops import ShardWriter
from crossface.data.emotions import SPLITS
from crossface.data.records import write_records
from crossface.data.rejects import write_rejects
from crossface.ingest.config import IngestConfig
from crossface.ingest.ingest import ingest

SIZE = 100  # of a crop
MARGIN = 0.15
DISTINCT = 8  # photos that are drawn; the others are links to them
KINDS = {"100 px": (100, 100), "800 px": (800, 800), "12 Mpx": (4000, 3000)}

BoxOf = dict[Path, tuple[int, int, int, int]]  # left, top, width, height


@dataclass(frozen=True)
class Load:
    """How much is measured."""

    loop_photos: int
    step_photos: dict[str, int]
    turns: int
    memory_photos: Sequence[int] = (1_000, 10_000, 100_000)
    table_rows: int = 100_000


QUICK = Load(loop_photos=16, step_photos={"100 px": 800, "800 px": 400, "12 Mpx": 800}, turns=2)
FULL = Load(loop_photos=80, step_photos={"100 px": 8000, "800 px": 3200, "12 Mpx": 1600}, turns=3)


def main() -> None:
    """Measure, and print what came out."""
    options = arguments(__doc__)
    load = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rows, found = [], {}
        for kind, (width, height) in KINDS.items():
            boxes = draw_photos(root / kind, width, height)
            found[kind] = best = measure(root / kind, boxes, load.step_photos[kind], load)
            rows.append((kind, *(f"{1 / seconds:.1f}" for seconds in best.values())))
        print(table(("photos a second", *found["12 Mpx"]), rows))
        print_phases(root, {kind: sorted((root / kind).glob("*.jpg"))[:DISTINCT] for kind in KINDS})
        peaks = {photos: peak_memory(photos, root / f"memory {photos}") for photos in load.memory_photos}
        rows = [(f"{photos}", f"{peak / 1e6:.0f}") for photos, peak in peaks.items()]
        print("\n" + table(("photos", "peak MB"), rows))
        speed = ingest_rows_a_second(root / "ingest", load.table_rows)
        print(f"\ningest: {speed:,.0f} rows of a csv table a second")
    best = found["12 Mpx"]
    ours = best["crop_faces"]
    write_ratios(
        {
            "crop_vs_pil_12mpx": best["PIL loop"] / ours,
            "crop_vs_opencv_12mpx": best["OpenCV loop"] / ours,
            "crop_vs_decode_limit_12mpx": best["decoding alone"] / ours,
            "two_process_speedup": ours / best["2 processes"],
            "peak_memory_100k_over_10k": peaks[100_000] / peaks[10_000],
        },
        options.json,
    )


def draw_photos(folder: Path, width: int, height: int) -> BoxOf:
    """Write photos and choose a face in each."""
    from sklearn.datasets import load_sample_images

    folder.mkdir()
    rng = np.random.default_rng(0)
    scenes = [Image.fromarray(scene) for scene in load_sample_images().images]
    boxes: BoxOf = {}
    for number in range(DISTINCT):
        pixels = np.asarray(_mosaic(scenes[number % 2], width, height), dtype=np.float32)
        pixels = pixels + rng.normal(0, 3, (height, width, 1)).astype(np.float32)
        path = folder / f"{number}.jpg"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
        side = int(rng.integers(min(width, height) // 10, int(min(width, height) * 0.4)))
        boxes[path] = (int(rng.integers(0, width - side)), int(rng.integers(0, height - side)), side, side)
    return boxes


def _mosaic(scene: Image.Image, width: int, height: int) -> Image.Image:
    """A scene at two and a half times its size, beside mirror images of itself."""
    tile = scene.resize((scene.width * 5 // 2, scene.height * 5 // 2), Image.Resampling.LANCZOS)
    whole = Image.new("RGB", (width, height))
    for row, top in enumerate(range(0, height, tile.height)):
        for column, left in enumerate(range(0, width, tile.width)):
            turned = tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if (row + column) % 2 else tile
            whole.paste(turned, (left, top))
    return whole


def measure(folder: Path, boxes: BoxOf, step_photos: int, load: Load) -> dict[str, float]:
    """Seconds a photo of every way, the best of some turns."""
    records = folder / "records"
    write_step_input(records, boxes, step_photos)
    shrinks = {path: chosen_shrink(path, box) for path, box in boxes.items()}
    loops = {
        "PIL loop": partial(_each, boxes, load.loop_photos, pil_crop),
        "OpenCV loop": partial(_each, boxes, load.loop_photos, opencv_crop),
    }
    decoders = {
        name: partial(_each, shrinks, load.loop_photos, decode)
        for name, decode in available_decoders().items()
    }
    steps = {
        name: partial(run_step, records, workers, folder / f"crops {workers}")
        for name, workers in (("crop_faces", 1), ("2 processes", 2))
    }
    best: dict[str, float] = {}
    for _ in range(load.turns):
        for name, work in (loops | decoders).items():
            best[name] = min(best.get(name, np.inf), _seconds(work) / load.loop_photos)
        for name, work in steps.items():
            best[name] = min(best.get(name, np.inf), _seconds(work) / step_photos)
    limit = min(best.pop(name) for name in decoders)
    return {
        "PIL loop": best["PIL loop"],
        "OpenCV loop": best["OpenCV loop"],
        "decoding alone": limit,
        "crop_faces": best["crop_faces"],
        "2 processes": best["2 processes"],
    }


def _each(arguments_of: dict, count: int, work: Callable) -> None:
    items = list(arguments_of.items())
    for number in range(count):
        work(*items[number % len(items)])


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _region(box: tuple[int, int, int, int], width: int, height: int) -> tuple[int, int, int, int]:
    left, top, side, _ = box
    context = int(side * MARGIN)
    right, bottom = min(left + side + context, width), min(top + side + context, height)
    return max(left - context, 0), max(top - context, 0), right, bottom


def pil_crop(path: Path, box: tuple[int, int, int, int]) -> None:
    """Open, crop, resize, save."""
    with Image.open(path) as image:
        crop = image.convert("RGB").crop(_region(box, *image.size))
        crop.resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(io.BytesIO(), "PNG")


def opencv_crop(path: Path, box: tuple[int, int, int, int]) -> None:
    """Read, crop, resize, encode, in one thread."""
    import cv2

    cv2.setNumThreads(1)
    image = cv2.imread(str(path))
    left, top, right, bottom = _region(box, image.shape[1], image.shape[0])
    crop = cv2.resize(image[top:bottom, left:right], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    cv2.imencode(".png", crop)


def available_decoders() -> dict[str, Callable[[Path, int], object]]:
    """Ways to decode a JPEG file at a scale, for those that are installed."""

    def pillow(path: Path, shrink: int) -> None:
        with Image.open(path) as image:
            image.draft(None, (max(image.width // shrink, 1), max(image.height // shrink, 1)))
            image.load()

    import cv2

    reduced = {shrink: getattr(cv2, f"IMREAD_REDUCED_COLOR_{shrink}") for shrink in (2, 4, 8)}
    flags = {1: cv2.IMREAD_COLOR, **reduced}
    decoders = {"Pillow": pillow, "OpenCV": lambda path, shrink: cv2.imread(str(path), flags[shrink])}
    try:
        import simplejpeg
    except ImportError:
        return decoders

    def turbo(path: Path, shrink: int) -> None:
        data = path.read_bytes()
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        smallest = {"min_height": height // shrink, "min_width": width // shrink}
        simplejpeg.decode_jpeg(data, "RGB", min_factor=1, **(smallest if shrink > 1 else {}))

    decoders["simplejpeg"] = turbo
    return decoders


def chosen_shrink(path: Path, box: tuple[int, int, int, int]) -> int:
    """The scale that crop_faces decodes a photo at."""
    photo = Photo(path.read_bytes())
    return photo.decode([photo.plan(Square.around(Box(*box), MARGIN), SIZE)]).shrink


def _record(uri: Path, box: Sequence[float] | None, number: int) -> dict:
    return {
        "face_id": f"bench/{number}",
        "dataset": "bench",
        "split": SPLITS[number % len(SPLITS)],
        "emotion": number % 7,
        "raw_label": "x",
        "image_uri": str(uri),
        "box": dict(zip(("left", "top", "width", "height"), map(float, box), strict=True)) if box else None,
        "group": str(number),
    }


def write_step_input(records: Path, boxes: BoxOf, count: int) -> None:
    """Records of ``count`` photos, which are links to those that were drawn."""
    records.mkdir()
    rows = []
    originals = list(boxes)
    for number in range(count):
        original = originals[number % len(originals)]
        link = records / f"{number}.jpg"
        os.link(original, link)
        rows.append(_record(link, boxes[original], number))
    write_records(rows, records)
    write_rejects([], records)


def run_step(records: Path, workers: int, out: Path) -> None:
    """The whole step, quietly."""
    with redirect_stdout(io.StringIO()):
        crop_faces(records, CropConfig(size=SIZE, margin=MARGIN, workers=workers), out)


def print_phases(root: Path, photos: dict[str, list[Path]]) -> None:
    """Where one process spends its time, in milliseconds a photo."""
    rows = []
    for kind, paths in photos.items():
        boxes = {path: _middle(path) for path in paths}
        spent = np.mean([_phases(root, path, box) for path, box in boxes.items()], axis=0)
        rows.append((kind, *(f"{1000 * seconds:.2f}" for seconds in spent)))
    header = ("ms a photo", "read", "header", "decode", "cut", "measure", "hash", "whole photo", "write row")
    print("\n" + table(header, rows))


def _middle(path: Path) -> tuple[int, int, int, int]:
    with Image.open(path) as image:
        side = min(image.size) // 3
        return (image.width - side) // 2, (image.height - side) // 2, side, side


def _phases(root: Path, path: Path, box: tuple[int, int, int, int]) -> list[float]:
    marks = [time.perf_counter()]

    def mark() -> None:
        marks.append(time.perf_counter())

    data = path.read_bytes()
    mark()
    photo = Photo(data)
    cut = photo.plan(Square.around(Box(*box), MARGIN), SIZE)
    mark()
    pixels = photo.decode([cut])
    mark()
    crop = photo.cut(pixels, cut)
    mark()
    capture_statistics(crop)
    mark()
    perceptual_hashes(crop)
    mark()
    record = _record(path, box, 0) | {"attributes": None}
    (face,) = cut_photo(data, [Box(*box)], CropConfig(size=SIZE, margin=MARGIN))
    row = crop_row(record, face)
    mark()
    with tempfile.TemporaryDirectory(dir=root) as folder:
        writer = ShardWriter(Path(folder))
        start = time.perf_counter()
        for _ in range(512):
            writer.write(row)
        writer.close()
        written = (time.perf_counter() - start) / 512
    return [*np.diff(marks), written]


# a process of its own; its workers are watched while they live, because getrusage counts the copy of the
# parent that a process is before it becomes a worker
STEP = """
import multiprocessing, sys, threading, time
from pathlib import Path
from crossface.crop_faces.config import CropConfig
from crossface.crop_faces.crop import crop_faces

peaks = {}

def peak(process):
    return 1024 * int(Path(f"/proc/{process}/status").read_text().partition("VmHWM:")[2].split()[0])

def watch():
    while True:
        for worker in multiprocessing.active_children():
            try:
                peaks[worker.pid] = peak(worker.pid)
            except (OSError, IndexError):  # it has just ended
                pass
        time.sleep(0.2)

if __name__ == "__main__":
    threading.Thread(target=watch, daemon=True).start()
    crop_faces(Path(sys.argv[1]), CropConfig(size=16, workers=2), Path(sys.argv[2]))
    print(peak("self") + sum(peaks.values()))
"""


def peak_memory(photos: int, folder: Path) -> int:
    """Bytes that a step with two workers holds at most: the sum of the peaks of its processes."""
    folder.mkdir()
    Image.effect_noise((24, 24), 60).convert("RGB").save(folder / "photo.jpg")
    rows = []
    for number in range(photos):
        link = folder / f"{number}.jpg"
        link.symlink_to("photo.jpg")
        rows.append(_record(link, (4, 4, 16, 16), number))
    write_records(rows, folder)
    write_rejects([], folder)
    (folder / "step.py").write_text(STEP)
    command = [sys.executable, str(folder / "step.py"), str(folder), str(folder / "crops")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return int(done.stdout.splitlines()[-1])


def ingest_rows_a_second(folder: Path, rows: int) -> float:
    """How fast a csv table with boxes is read."""
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "photo.jpg")
    with (folder / "labels.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("path", "label", "left", "top", "width", "height", "group"))
        for number in range(rows):
            lines.writerow(("photo.jpg", "fear", 0, 0, 8, 8, number))
    options = {
        "file": "labels.csv",
        "path_column": "path",
        "label_column": "label",
        "box_columns": ("left", "top", "width", "height"),
        "group_column": "group",
    }
    config = IngestConfig(key="bench", format="csv", source=str(folder), options=options)
    return rows / _seconds(lambda: ingest(config, folder / "records"))


if __name__ == "__main__":
    main()
