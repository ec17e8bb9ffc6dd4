"""Makes photos that are odd or hostile: ``python odd_photos.py FOLDER``.

All right ones show the same scene, four coloured quarters, and the box lies in its middle, so that a right
crop shows them as well.
"""

import io
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from crossface.data.rejects import Reason

QUARTERS = ((200, 40, 40), (40, 160, 60), (40, 60, 190), (220, 210, 80))  # left to right, top to bottom
WIDTH, HEIGHT = 96, 64
BOX = (32, 16, 32, 32)  # in the middle

Rgb = tuple[int, int, int]
Look = tuple[Rgb, Rgb, Rgb, Rgb]  # of the quarters of a crop


@dataclass(frozen=True)
class Odd:
    """One face of an odd photo, and how it may end.

    Attributes:
        name: of the file, relative to the folder.
        box: left, top, width, height, or None.
        look: what a right crop shows; None: no crop is right.
        reasons: rejects that are right; empty: only the crop is.
    """

    name: str
    box: tuple[float, float, float, float] | None = BOX
    look: Look | None = QUARTERS
    reasons: frozenset[Reason] = field(default=frozenset())


def scene(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    picture = Image.new("RGB", (width, height))
    for number, colour in enumerate(QUARTERS):
        left, top = number % 2 * (width // 2), number // 2 * (height // 2)
        picture.paste(colour, (left, top, left + width - width // 2, top + height - height // 2))
    return picture


def make(folder: Path) -> list[Odd]:
    """Write the corpus and tell how each of its faces may end."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = (
        truncated,
        misnamed,
        bombs,
        shapes,
        animations,
        no_images,
        links,
        names,
        modes,
        metadata,
        damaged,
        boxes,
    )
    return [odd for part in parts for odd in part(folder)]


def broken(name: str, *more: Reason) -> Odd:
    return Odd(name, None, None, frozenset({Reason.UNREADABLE_IMAGE, *more}))


def encoded(image: Image.Image | None = None, form: str = "JPEG", **save) -> bytes:
    buffer = io.BytesIO()
    (image or scene()).save(buffer, form, **({"quality": 95} if form == "JPEG" else {}) | save)
    return buffer.getvalue()


def truncated(folder: Path) -> Iterator[Odd]:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    kinds = {
        "jpg": encoded(noise),
        "progressive.jpg": encoded(noise, progressive=True),
        "png": encoded(noise, "PNG"),
        "webp": encoded(noise, "WEBP"),
        "gif": encoded(noise, "GIF"),
        "tif": encoded(noise, "TIFF"),
        "bmp": encoded(noise, "BMP"),
    }
    for kind, data in kinds.items():
        for share in (0.001, 0.01, 0.1, 0.4, 0.7, 0.9, 0.97):
            name = f"truncated at {share}.{kind}"
            (folder / name).write_bytes(data[: max(int(len(data) * share), 1)])
            yield broken(name)
    name = "face above the cut.jpg"  # the rows of the face are there, but the download was not complete
    large = encoded(noise.resize((960, 640)))
    (folder / name).write_bytes(large[: int(len(large) * 0.8)])
    yield Odd(name, (100, 20, 200, 200), None, frozenset({Reason.UNREADABLE_IMAGE}))


def misnamed(folder: Path) -> Iterator[Odd]:
    for form, name in (
        ("PNG", "a png.jpg"),
        ("JPEG", "a jpeg.png"),
        ("BMP", "a bmp.jpeg"),
        ("WEBP", "a webp.jpg"),
        ("TIFF", "no extension"),
    ):
        (folder / name).write_bytes(encoded(form=form))
        yield Odd(name)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, lines: bytes, *chunks: bytes) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            header,
            *chunks,
            png_chunk(b"IDAT", zlib.compress(lines)),
            png_chunk(b"IEND", b""),
        )
    )


def bombs(folder: Path) -> Iterator[Odd]:
    small = encoded()
    frame = small.index(b"\xff\xc0")
    huge_jpeg = small[: frame + 5] + struct.pack(">HH", 65500, 65500) + small[frame + 9 :]
    progressive = encoded(Image.new("RGB", (2000, 2000)), progressive=True)
    last_scan = progressive.rindex(b"\xff\xda")
    many_scans = progressive[:last_scan] + progressive[last_scan:-2] * 20_000 + b"\xff\xd9"
    contents = {
        "bomb that lies.png": png(60_000, 60_000, 8, 2, b"\0" * 100),
        "bomb.png": png(16_000, 16_000, 1, 0, b"\0" * (2001 * 16_000)),
        "bomb.gif": b"GIF89a" + struct.pack("<HH", 65535, 65535) + encoded(form="GIF")[10:],
        "bomb.jpg": huge_jpeg,
        "bomb.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60000, 60000, 1, 24, *[0] * 6),
        "bomb of scans.jpg": many_scans,
        "bomb of text.png": png(
            8, 8, 8, 0, b"\0" * 72, png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000)))
        ),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
        yield broken(name)


def shapes(folder: Path) -> Iterator[Odd]:
    for form in ("png", "jpg", "gif"):
        Image.new("RGB", (1, 1), QUARTERS[0]).save(folder / f"one pixel.{form}")
        yield Odd(f"one pixel.{form}", (0, 0, 1, 1), (QUARTERS[0],) * 4)
    for form in ("png", "jpg"):
        wide = Image.new("RGB", (30_000, 64), "gray")
        wide.paste(scene(), (29_000, 0))
        wide.save(folder / f"wide.{form}", **({"quality": 95} if form == "jpg" else {}))
        yield Odd(f"wide.{form}", (29_032, 16, 32, 32))
    Image.new("1", (9_900, 10_000), 1).save(folder / "large.png")
    yield Odd("large.png", (3000, 3000, 4000, 4000), ((255, 255, 255),) * 4)
    tall = Image.new("RGB", (96, 65_000), "gray")
    tall.paste(scene(), (0, 64_000))
    tall.save(folder / "tall.jpg", quality=95)
    yield Odd("tall.jpg", (32, 64_016, 32, 32))
    (folder / "many rows, face on top.jpg").write_bytes(encoded(scene(4000, 3000)))
    yield Odd("many rows, face on top.jpg", (1900, 1400, 200, 200))


def animations(folder: Path) -> Iterator[Odd]:
    for name, form in (
        ("moves.gif", "GIF"),
        ("moves.webp", "WEBP"),
        ("moves.png", "PNG"),
        ("pages.tif", "TIFF"),
    ):
        frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("black", "white")]
        more = {"lossless": True} if form == "WEBP" else {}
        scene().save(folder / name, form, save_all=True, append_images=frames, **more)
        yield Odd(name)
    scene().save(folder / "pictures.jpg", "MPO", save_all=True, append_images=[scene(40, 40)], quality=95)
    yield Odd("pictures.jpg")
    scene().save(folder / "still.gif")
    yield Odd("still.gif")


def no_images(folder: Path) -> Iterator[Odd]:
    contents = {
        "page.jpg": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
        "drawing.jpg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "paper.jpg": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "archive.jpg": b"PK\x03\x04" + bytes(60),
        "zeros.jpg": bytes(5000),
        "noise.jpg": np.random.default_rng(1).bytes(5000),
        "start.jpg": b"\xff\xd8",
        "markers.jpg": b"\xff\xd8" + b"\xff" * 5000,
        "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
        "postscript.jpg": encoded(form="EPS"),
        "fax.pcx": encoded(form="PCX"),
        "lfs.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
        yield broken(name)
    (folder / "empty.jpg").touch()
    yield broken("empty.jpg", Reason.EMPTY_FILE)


def links(folder: Path) -> Iterator[Odd]:
    missing = frozenset({Reason.MISSING_FILE, Reason.UNREADABLE_IMAGE, Reason.BAD_ROW, Reason.EMPTY_FILE})
    (folder / "plain.jpg").write_bytes(encoded())
    (folder / "link.jpg").symlink_to("plain.jpg")
    yield Odd("link.jpg", reasons=missing)
    for name, target in (
        ("link to nothing.jpg", "nothing.jpg"),
        ("link to itself.jpg", "link to itself.jpg"),
        ("link to a folder.jpg", "."),
        ("link to a device.jpg", "/dev/zero"),
    ):
        (folder / name).symlink_to(target)
        yield Odd(name, BOX, None, missing)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    yield Odd("pipe.jpg", BOX, None, missing)
    yield Odd("folder.jpg", BOX, None, missing)
    yield Odd("not there.jpg", BOX, None, missing)
    (folder / "private.jpg").write_bytes(encoded())
    (folder / "private.jpg").chmod(0)
    if os.access(folder / "private.jpg", os.R_OK):  # an administrator may
        yield Odd("private.jpg")
    else:
        yield Odd("private.jpg", BOX, None, missing)


def names(folder: Path) -> Iterator[Odd]:
    for name in (
        "two\nlines.jpg",
        "žluťoučký 顔 лицо \N{GRINNING FACE}.jpg",
        "e\N{COMBINING ACUTE ACCENT}.jpg",
        "a, \"quoted\" 'name'; $(x) %s {y}.jpg",
        "-rf.jpg",
        "tab\there.jpg",
        "#part?query=1.jpg",
        "n" * 251 + ".jpg",
        "double.jpg.jpg",
        "UPPER.JPG",
    ):
        (folder / name).write_bytes(encoded())
        yield Odd(name)


def modes(folder: Path) -> Iterator[Odd]:
    grey = tuple((round(0.299 * r + 0.587 * g + 0.114 * b),) * 3 for r, g, b in QUARTERS)
    assert len(grey) == 4
    levels = np.asarray(scene().convert("L")).astype(np.uint16) * 257
    sixteen = np.asarray(scene()).astype(">u2") * 257
    clear = scene().convert("RGBA")
    clear.putalpha(0)
    half = scene().convert("RGBA")
    half.putalpha(128)
    palette = scene().quantize(16)
    plain = {
        "cmyk.jpg": (encoded(scene().convert("CMYK")), QUARTERS),
        "cmyk.tif": (encoded(scene().convert("CMYK"), "TIFF"), QUARTERS),
        "grey.jpg": (encoded(scene().convert("L")), grey),
        "grey 16.png": (encoded(Image.fromarray(levels), "PNG"), grey),
        "grey 16.tif": (encoded(Image.fromarray(levels), "TIFF"), grey),
        "colour 16.png": (
            png(WIDTH, HEIGHT, 16, 2, b"".join(b"\0" + row.astype(">u2").tobytes() for row in sixteen)),
            QUARTERS,
        ),
        "palette.png": (encoded(palette, "PNG"), QUARTERS),
        "clear.png": (encoded(clear, "PNG"), ((255, 255, 255),) * 4),
        "clear.webp": (encoded(clear, "WEBP", lossless=True), ((255, 255, 255),) * 4),
        "half.png": (encoded(half, "PNG"), tuple(tuple((v + 255) // 2 for v in c) for c in QUARTERS)),
        "grey alpha.png": (encoded(scene().convert("LA"), "PNG"), grey),
        "ppm.ppm": (encoded(form="PPM"), QUARTERS),
        "wavelets.jp2": (encoded(form="JPEG2000"), QUARTERS),
        "restarts.jpg": (encoded(restart_marker_blocks=1), QUARTERS),
        "full colour.jpg": (encoded(subsampling=0), QUARTERS),
        "half colour.jpg": (encoded(subsampling=1), QUARTERS),
        "progressive.jpg": (encoded(progressive=True), QUARTERS),
        "rgb.jpg": (encoded(keep_rgb=True), QUARTERS),
    }
    for name, (data, look) in plain.items():
        (folder / name).write_bytes(data)
        yield Odd(name, look=look)
    black_white = Image.new("1", (WIDTH, HEIGHT), 1)
    black_white.save(folder / "bits.png")
    yield Odd("bits.png", look=((255, 255, 255),) * 4)
    Image.fromarray(np.full((HEIGHT, WIDTH), 0.5, np.float32)).save(folder / "float.tif")
    yield broken("float.tif")


def metadata(folder: Path) -> Iterator[Odd]:
    def exif(orientation: object) -> bytes:
        tags = Image.Exif()
        tags[0x0112] = orientation
        return tags.tobytes()

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # from upright to stored
    for orientation, turn in turns.items():
        for form in ("jpg", "png", "tif"):
            name = f"turned {orientation}.{form}"
            save = {"quality": 95} if form == "jpg" else {}
            scene().transpose(turn).save(folder / name, exif=exif(orientation), **save)
            yield Odd(name)
    good = exif(6)
    contents = {
        "exif orientation 9.jpg": encoded(exif=exif(9)),
        "exif orientation 0.jpg": encoded(exif=exif(0)),
        "exif cut.jpg": encoded(exif=good[:12]),
        "exif noise.jpg": encoded(exif=b"Exif\0\0" + np.random.default_rng(2).bytes(300)),
        "exif far.jpg": encoded(exif=b"Exif\0\0MM\0*\xff\xff\xff\xf0"),
        "exif loop.jpg": encoded(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\x08"),
        "exif empty.jpg": encoded(exif=b"Exif\0\0"),
        "profile noise.jpg": encoded(icc_profile=np.random.default_rng(3).bytes(200)),
        "long comment.jpg": encoded(comment=b"\xff\xda\xff\xd9\xff\xc0" * 9000),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
        yield Odd(name)


def damaged(folder: Path) -> Iterator[Odd]:
    whole = encoded()
    image = encoded(form="PNG")
    data = image.index(b"IDAT")
    contents = {
        "tail.jpg": whole + b"appended by a phone" * 50,
        "two in one.jpg": whole + encoded(scene(10, 10)),
        "filler.jpg": whole[:2] + b"\xff" * 9 + whole[2:],
        "frame of a video.jpg": whole.replace(b"\xff\xc4", b"\xff\xfe"),  # no Huffman tables: the usual ones
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        yield Odd(name)
    hurt = {
        "late.jpg": b"\r\n\r\n" + whole,
        "bad sum.png": image[: data + 30] + bytes([image[data + 30] ^ 255]) + image[data + 31 :],
        "no data.png": image[: data - 4] + png_chunk(b"IEND", b""),
        "no height.jpg": whole.replace(struct.pack(">HH", HEIGHT, WIDTH), struct.pack(">HH", 0, WIDTH)),
    }
    for name, content in hurt.items():
        (folder / name).write_bytes(content)
        yield broken(name)


def boxes(folder: Path) -> Iterator[Odd]:
    red, _, _, yellow = QUARTERS
    nan, inf = float("nan"), float("inf")
    outside = frozenset({Reason.BOX_OUTSIDE})
    bad = frozenset({Reason.BAD_BOX, Reason.BAD_ROW})
    cases = [
        ((-40, -40, 60, 60), (red,) * 4, frozenset()),  # a corner of it shows
        ((80, 48, 60, 60), (yellow,) * 4, frozenset()),
        ((-52, -68, 200, 200), QUARTERS, frozenset()),  # around all of the photo
        ((10, 10, 0.05, 0.05), (red,) * 4, frozenset()),
        *(((left, top, 20, 20), None, outside) for left, top in ((96, 10), (-20, 10), (10, 1e6), (10, 64))),
        ((-1e9, -1e9, 2e9, 2e9), None, outside),  # the photo is a speck of it
        *(((nan, 1, 9, 9), None, bad), ((1, 1, nan, 9), None, bad), ((1, 1, inf, 9), None, bad)),
        *(((-inf, 1, inf, 9), None, bad), ((9, 9, 0, 9), None, bad), ((9, 9, -5, 9), None, bad)),
        ((3e38, 1, 3e38, 3e38), None, bad | outside),
    ]
    for number, (box, look, reasons) in enumerate(cases):
        name = f"box {number}.jpg"
        (folder / name).write_bytes(encoded())
        yield Odd(name, box, look, reasons)


if __name__ == "__main__":
    for made in make(Path(sys.argv[1])):
        print(repr(made.name), made.box, *made.reasons)
