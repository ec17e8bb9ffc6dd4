"""``python -m crossface.train``: the step from a shell."""

from crossface.shell import StepParser


def main() -> None:
    """Train on crops folders, write a model folder."""
    parser = StepParser("train", __doc__)
    parser.add_argument("crops", nargs="+", type=parser.folder, help="a crops folder a dataset")
    parser.add_argument(
        "--leakage", type=parser.folder, help="folder of find_leakage; what it drops is left out"
    )
    with parser.step() as arguments:
        from crossface.train.config import TrainConfig
        from crossface.train.train import train

        train(
            arguments.crops,
            TrainConfig.parse(arguments.config, "train"),
            arguments.out,
            lambda metrics, epoch: None,
            arguments.leakage,
        )


if __name__ == "__main__":
    main()
