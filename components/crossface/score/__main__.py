"""``python -m crossface.score``: the step from a shell."""

from crossface.shell import StepParser


def main() -> None:
    """Score a source of photos, write a scores folder, print what came of it."""
    parser = StepParser("score", __doc__)
    parser.add_argument("--model", type=parser.folder, required=True, help="folder that pin_model wrote")
    with parser.step() as arguments:
        from crossface.score.config import ScoreConfig
        from crossface.score.report import REPORT_FILE
        from crossface.score.score import score

        print(score(arguments.model, ScoreConfig.parse(arguments.config, "score"), arguments.out))
        print(arguments.out / REPORT_FILE)


if __name__ == "__main__":
    main()
