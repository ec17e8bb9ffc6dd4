"""``python -m crossface.evaluate``: the step from a shell."""

from crossface.shell import StepParser


def main() -> None:
    """Compare two model folders, write an evaluation folder, print its findings."""
    parser = StepParser("evaluate", __doc__)
    parser.add_argument("crops", nargs="+", type=parser.folder, help="a crops folder a dataset")
    parser.add_argument("--baseline", type=parser.folder, required=True, help="model folder")
    parser.add_argument("--adapted", type=parser.folder, required=True, help="model folder")
    parser.add_argument(
        "--other",
        type=parser.folder,
        action="append",
        default=[],
        help="model folder of a study; again for more",
    )
    parser.add_argument("--bias", type=parser.folder, required=True, help="folder that probe_bias wrote")
    parser.add_argument(
        "--leakage", type=parser.folder, help="folder of find_leakage; the report tells of its copies"
    )
    with parser.step() as arguments:
        from crossface.evaluate.config import EvaluateConfig
        from crossface.evaluate.evaluation import evaluate
        from crossface.evaluate.findings import findings
        from crossface.evaluate.report import REPORT_FILE

        config = EvaluateConfig.parse(arguments.config, "evaluate")
        folders = (arguments.baseline, arguments.adapted, arguments.bias)
        done = evaluate(arguments.crops, *folders, config, arguments.out, arguments.leakage, arguments.other)
        for finding in findings(done.metrics):
            print(finding)
        print(*done.verdict.reasons, arguments.out / REPORT_FILE, sep="\n")


if __name__ == "__main__":
    main()
