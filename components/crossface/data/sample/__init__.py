"""Sample data: drawn faces in the layouts of RAF-DB, ExpW and AffectNet, with known bias.

Real datasets may not be passed on, so these stand in for them: the same files, names and separators, and
by construction the three biases that the pipeline measures and removes. What was really drawn is in
``truth.csv``, which no step reads.
"""

from pathlib import Path


def write_sample_data(out: Path, faces: int, seed: int) -> None:
    """Draw ``faces`` labelled faces and publish them as ``out/rafdb``, ``out/expw`` and ``out/affectnet``.

    The same ``faces`` and ``seed`` give the same bytes, on any number of processes. ``out`` appears only
    when it is complete; an earlier sample there is replaced.

    Args:
        out: the folder to write.
        faces: labelled faces over the three sources, at least 60. AffectNet rows that carry none of the
            seven expressions come on top.
        seed: 0 or more.

    Raises:
        ConfigError: ``faces`` or ``seed`` is too small, or ``out`` holds something else than a sample.
    """
    from crossface.data.sample.publish import publish  # draws with PIL: only when it is asked for

    publish(out, faces, seed)
