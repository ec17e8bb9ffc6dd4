"""``python -m crossface.chart``: the step from a shell."""

from crossface.shell import StepParser


def main() -> None:
    """Write the curves of one dataset as JSON."""
    parser = StepParser("chart", __doc__)
    parser.add_argument("--evaluation", type=parser.folder, required=True, help="folder that evaluate wrote")
    parser.add_argument("--dataset", required=True, help="its key")
    with parser.step() as arguments:
        from crossface.chart.curves import read_curves

        arguments.out.write_text(read_curves(arguments.evaluation, arguments.dataset).as_json())


if __name__ == "__main__":
    main()
