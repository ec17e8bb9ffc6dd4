"""``python -m crossface.detect_changes``: the step from a shell."""

from crossface.shell import StepParser


def main() -> None:
    """Compare with the last finished run; --out gets ``true`` or ``false``.

    The configuration has ``datasets`` with their revisions, ``model_name``, and ``settings``, any text that
    changes when a setting does.
    """
    parser = StepParser("detect_changes", __doc__)
    with parser.step() as arguments:
        from crossface import tracking
        from crossface.detect_changes.detect_changes import compare, inputs_digest

        given = arguments.config
        last = tracking.last_finished("detect_changes", {"crossface.model_name": given["model_name"]})
        digest = inputs_digest(given["datasets"], given["settings"])
        changed = compare(digest, last and last.data.tags.get("crossface.inputs"))
        arguments.out.write_text(f"{str(changed).lower()}\n")


if __name__ == "__main__":
    main()
