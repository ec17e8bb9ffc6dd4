"""The fingerprint of a source changes with its files, and with nothing else."""

import os

from s3_server import BUCKET, start_proxy, start_s3_server  # noqa: F401  # fixtures

from crossface.data.revision import listing_digest


def test_directory(tmp_path):
    (tmp_path / "faces" / "a").mkdir(parents=True)
    photo = tmp_path / "faces" / "a" / "1.jpg"
    photo.write_bytes(b"one")
    (tmp_path / "faces" / "round").symlink_to(tmp_path / "faces")
    seen = [listing_digest(str(tmp_path / "faces"))]
    (tmp_path / "beside").write_bytes(b"another dataset")
    assert listing_digest(str(tmp_path / "faces")) == seen[0]
    os.utime(photo, ns=(1, 1))
    seen.append(listing_digest(str(tmp_path / "faces")))
    (tmp_path / "faces" / "a" / "2.jpg").write_bytes(b"two")
    seen.append(listing_digest(str(tmp_path / "faces")))
    assert len(set(seen)) == 3


def test_every_volume_of_an_archive_counts(tmp_path):
    for number in (1, 2):
        (tmp_path / f"set.7z.{number:03}").write_bytes(b"volume")
    before = listing_digest(str(tmp_path / "set.7z.001"))
    (tmp_path / "other.7z.001").write_bytes(b"volume")
    assert listing_digest(str(tmp_path / "set.7z.001")) == before
    (tmp_path / "set.7z.002").write_bytes(b"another volume")
    assert listing_digest(str(tmp_path / "set.7z.001")) != before


def test_prefix_in_s3_and_not_its_longer_namesakes(s3_server, proxy):
    s3_server.put("revision/raf/1.jpg", b"one")
    before = listing_digest(f"s3://{BUCKET}/revision/raf")
    assert listing_digest(f"s3://{BUCKET}/revision/raf/") == before
    s3_server.put("revision/raf2/1.jpg", b"another dataset")
    assert listing_digest(f"s3://{BUCKET}/revision/raf") == before
    s3_server.put("revision/raf/1.jpg", b"two")  # as long as before
    assert listing_digest(f"s3://{BUCKET}/revision/raf") != before
