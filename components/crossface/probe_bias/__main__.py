"""``python -m crossface.probe_bias``: the step from a shell."""

from crossface.shell import StepParser


def main() -> None:
    """Measure the bias of crops folders, write a folder with bias.json."""
    parser = StepParser("probe_bias", __doc__)
    parser.add_argument("crops", nargs="+", type=parser.folder, help="a crops folder a dataset")
    parser.add_argument(
        "--full", action="store_true", help="train the backbone itself to name the dataset, too"
    )
    with parser.step() as arguments:
        from crossface.probe_bias.config import ProbeConfig
        from crossface.probe_bias.measure import probe_bias

        config = ProbeConfig.parse(arguments.config, "probe")
        if arguments.full:
            full = config.full.model_copy(update={"enabled": True})
            config = config.model_copy(update={"full": full})
        for name, value in probe_bias(arguments.crops, config, arguments.out).metrics().items():
            print(f"{name:<40}{value:.3f}")


if __name__ == "__main__":
    main()
