"""Every reader finds in an object store what it finds in a directory, and asks for each file once."""

from collections import Counter

import layouts
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import run
from s3_server import BUCKET, start_proxy, start_s3_server  # noqa: F401  # fixtures

RAFDB = [(f"train_{number:05d}.jpg", str(number % 7 + 1)) for number in range(14)] + [("test_1.jpg", "4")]


def hub(root):
    pictures = [layouts.encoded(str(number)) for number in range(12)]
    (root / "data").mkdir(parents=True)
    for split, rows in (("train", 9), ("test", 3)):
        labels = (["happy", "sad", "fear"] * 3)[:rows]
        data = pa.table({"image": pictures[:rows], "label": labels})
        pq.write_table(data, root / "data" / f"{split}-00000-of-00001.parquet")
    return root


MADE = {
    "rafdb": lambda root: layouts.rafdb(root, RAFDB),
    "affectnet": lambda root: layouts.affectnet_2021(
        root, {"train_set": {n: str(n % 7) for n in range(14)}, "val_set": {0: np.int64(3)}}
    ),
    "fer2013": lambda root: layouts.fer2013(
        root,
        [
            (number % 7, layouts.fer2013_pixels(number), usage)
            for number, usage in enumerate(["Training"] * 9 + ["PublicTest", "PrivateTest"])
        ],
    ),
    "imagefolder": lambda root: layouts.imagefolder(
        root,
        [
            f"{split}/{name}/é {n}.jpg"
            for split in ("train", "test")
            for name in ("happy", "sad")
            for n in "123"
        ],
    ),
    "parquet": hub,
}


@pytest.mark.parametrize("form", MADE)
def test_object_store_gives_the_rows_of_the_directory(tmp_path, s3_server, proxy, form):
    source = MADE[form](tmp_path / form)
    for path in source.rglob("*"):
        if path.is_file():
            s3_server.put(f"{form}/{path.relative_to(source).as_posix()}", path.read_bytes())
    expected, _ = run(source, form)
    url = f"s3://{BUCKET}/{form}"
    rows, rejects = run(url, "auto", tmp_path / "out")
    assert not rejects
    assert rows == {
        name: {**row, "image_uri": row["image_uri"].replace(str(source), url)}
        for name, row in expected.items()
    }
    asked = Counter(request for request in proxy.requests if request.startswith("GET"))
    assert sum("list-type=2" in request for request in asked.elements()) == 1
    assert max(asked.values()) == 1
