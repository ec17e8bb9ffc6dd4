"""``python -m crossface.ingest``: the step from a shell."""

from crossface.shell import StepParser


def main() -> None:
    """Read a dataset, write a records folder."""
    parser = StepParser("ingest", __doc__)
    with parser.step() as arguments:
        from crossface.ingest.config import IngestConfig
        from crossface.ingest.ingest import ingest

        print(ingest(IngestConfig.parse(arguments.config, "dataset"), arguments.out))


if __name__ == "__main__":
    main()
