"""How fast copies are searched for, and which are found.

First the search for near hashes, among random ones with planted pairs at the greatest distance. Then, on
faces, copies made in several ways: the share that the hash finds, and that the registered correlation
confirms; and the pairs of different photos that either takes for copies. The faces are drawn ones, or, where
``CROSSFACE_REAL_FACES`` names a folder with ``<source>/images/<person>_<number>.jpg``, photographs.
"""

import io
import os
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from report import arguments, table, write_ratios

from crossface.cropping.capture import perceptual_hashes
from crossface.data.sample import write_sample_data
from crossface.find_leakage.candidates import HashClasses, find_candidates
from crossface.find_leakage.config import LeakageConfig
from crossface.find_leakage.registration import SIDE, correlations

CONFIG = LeakageConfig()
PLANTED = 1000
LIMIT_S = 120.0
CROP_PX = 100
Cut = Callable[..., Image.Image]  # of one photo: shift and scale, shares of the crop's side; size in pixels

COPIES: Mapping[str, Callable[[Cut], Image.Image]] = {
    "JPEG quality 75": lambda cut: jpeg(cut(), 75),
    "JPEG quality 30": lambda cut: jpeg(cut(), 30),
    "48 px": lambda cut: cut(size=48),
    "brightness x 1.3": lambda cut: ImageEnhance.Brightness(cut()).enhance(1.3),
    "brightness x 0.6": lambda cut: ImageEnhance.Brightness(cut()).enhance(0.6),
    "contrast x 1.4": lambda cut: ImageEnhance.Contrast(cut()).enhance(1.4),
    "grey": lambda cut: ImageOps.grayscale(cut()),
    "mirrored": lambda cut: ImageOps.mirror(cut()),
    "box shifted by 2%": lambda cut: cut(shift=0.02),
    "box shifted by 5%": lambda cut: cut(shift=0.05),
    "box shifted by 10%": lambda cut: cut(shift=0.10),
    "box 5% larger": lambda cut: cut(scale=1.05),
    "box 10% larger": lambda cut: cut(scale=1.10),
    "3%, 5% and JPEG": lambda cut: jpeg(cut(shift=0.03, scale=1.05), 75),
}


def main() -> None:
    """Run both parts and print what came out."""
    options = arguments(__doc__)
    rows, ratios = search((25_000, 100_000) if options.quick else (25_000, 100_000, 400_000))
    print(table(("hashes", "seconds", "planted found", "peak memory MB"), rows))
    with tempfile.TemporaryDirectory() as folder:
        photos = load_photos(Path(folder), 600 if options.quick else 2400)
        print(f"\n{len(photos)} photos")
        found, strangers = recognised(photos)
    print(table(("copy", "by hash", "and correlation"), found))
    print("\n" + table(("pairs of different photos", "by hash", "and correlation"), strangers))
    write_ratios(ratios, options.json)


def search(sizes: tuple[int, ...]) -> tuple[list[tuple[str, ...]], dict[str, float]]:
    """Time the search among random hashes, of which ``PLANTED`` pairs are near."""
    rng = np.random.default_rng(0)
    rows = []
    seconds = found = 0.0
    for size in sizes:
        hashes = rng.integers(0, 2**64, (size, 2), dtype=np.uint64)
        for number in range(PLANTED):
            bits = rng.choice(64, CONFIG.max_distance, replace=False)
            hashes[-1 - number, 0] = hashes[number, 0] ^ np.uint64(sum(1 << int(bit) for bit in bits))
        nobody = np.zeros(size, np.int64)
        classes = HashClasses(np.arange(size), hashes, nobody, np.arange(size))
        start = time.perf_counter()
        pairs = find_candidates(classes, CONFIG.max_distance, CONFIG.max_candidates)
        seconds = time.perf_counter() - start
        planted = (pairs.one + pairs.other == size - 1) & (pairs.one < PLANTED) & ~pairs.mirrored
        found = planted.sum() / PLANTED
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append((f"{size:,}", f"{seconds:.1f}", f"{found:.3f}", f"{peak:.0f}"))
    return rows, {"leakage_limit_over_search_time": LIMIT_S / seconds, "leakage_planted_found": found}


def load_photos(folder: Path, most: int) -> list[tuple[str, Cut]]:
    """The person on each photo, and a way to cut it."""
    real = os.environ.get("CROSSFACE_REAL_FACES")
    if real:
        files = sorted(path for path in Path(real).glob("*/images/*") if path.is_file())
        shares = {"lfw": 0.6}
        files = files[:: max(1, len(files) // most)]
        return [
            (path.stem.rpartition("_")[0], cutter(path, shares.get(path.parts[-3], 0.85))) for path in files
        ]
    write_sample_data(folder / "sample", 2 * most, 0)
    photos = []
    for path in sorted((folder / "sample" / "affectnet").rglob("*.jpg")):
        with suppress(OSError):  # the sample holds broken files on purpose
            photos.append((path.stem, cutter(path, 0.75)))
    return photos


def cutter(path: Path, share: float) -> Cut:
    """Cut the middle of a photo."""
    photo = Image.open(path).convert("RGB")

    def cut(shift: float = 0.0, scale: float = 1.0, size: int = CROP_PX) -> Image.Image:
        side = share * min(photo.size)
        left, top = ((length - scale * side) / 2 + shift * side * 0.707 for length in photo.size)
        box = (
            max(left, 0),
            max(top, 0),
            min(left + scale * side, photo.width),
            min(top + scale * side, photo.height),
        )
        return photo.resize((size, size), Image.Resampling.LANCZOS, box)

    return cut


def recognised(photos: list[tuple[str, Cut]]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """What is found of copies, and what is taken for a copy among different photos."""
    people = np.array([person for person, _ in photos])
    plain = [cut() for _, cut in photos]
    hashes, mirrored = np.array([perceptual_hashes(crop) for crop in plain], np.uint64).T
    pictures = small(plain)
    same = np.arange(len(photos))
    found = []
    for name, make in COPIES.items():
        copies = [make(cut) for _, cut in photos]
        theirs = np.array([perceptual_hashes(copy)[name == "mirrored"] for copy in copies], np.uint64)
        near = np.bitwise_count(hashes ^ theirs) <= CONFIG.max_distance
        turned = small(copies)[:, :, ::-1] if name == "mirrored" else small(copies)
        alike = correlations(pictures, turned, same, same) >= CONFIG.min_correlation
        found.append((name, f"{near.mean():.3f}", f"{(near & alike).mean():.3f}"))
    strangers = []
    for name, theirs, turned in (
        ("as they are", hashes, pictures),
        ("mirrored", mirrored, pictures[:, :, ::-1]),
    ):
        one, other = np.nonzero(np.triu(np.bitwise_count(theirs[:, None] ^ hashes) <= CONFIG.max_distance, 1))
        alike = correlations(turned, pictures, one, other) >= CONFIG.min_correlation
        for who, chosen in (
            ("one person", people[one] == people[other]),
            ("two", people[one] != people[other]),
        ):
            strangers.append((f"{name}, {who}", str(chosen.sum()), str((chosen & alike).sum())))
    return found, strangers


def small(crops: list[Image.Image]) -> np.ndarray:
    """Crops as the registration compares them."""
    size, lanczos = (SIDE, SIDE), Image.Resampling.LANCZOS
    return np.stack([np.asarray(crop.convert("L").resize(size, lanczos)) for crop in crops])


def jpeg(crop: Image.Image, quality: int) -> Image.Image:
    """A crop compressed once more."""
    buffer = io.BytesIO()
    crop.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


if __name__ == "__main__":
    main()
