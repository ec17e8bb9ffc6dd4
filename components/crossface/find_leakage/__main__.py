"""``python -m crossface.find_leakage``: the step from a shell."""

from crossface.shell import StepParser


def main() -> None:
    """Find copies among crops folders, write a folder with pairs, dropped faces and counts."""
    parser = StepParser("find_leakage", __doc__)
    parser.add_argument("crops", nargs="+", type=parser.folder, help="a crops folder a dataset")
    with parser.step() as arguments:
        from crossface.find_leakage.config import LeakageConfig
        from crossface.find_leakage.find import find_leakage

        config = LeakageConfig.parse(arguments.config, "leakage")
        print(find_leakage(arguments.crops, config, arguments.out))


if __name__ == "__main__":
    main()
