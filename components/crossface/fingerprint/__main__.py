"""``python -m crossface.fingerprint``: the step from a shell."""

from crossface.shell import StepParser


def main() -> None:
    """Read ``datasets:`` of the configuration; --out gets them as YAML, each with its revision."""
    parser = StepParser("fingerprint", __doc__)
    with parser.step() as arguments:
        import yaml

        from crossface.fingerprint.fingerprint import with_revisions

        found = with_revisions(arguments.config.get("datasets", []))
        arguments.out.write_text(yaml.safe_dump({"datasets": found}, sort_keys=False))


if __name__ == "__main__":
    main()
