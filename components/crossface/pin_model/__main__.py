"""``python -m crossface.pin_model``: the step from a shell."""

from crossface.shell import StepParser


def main() -> None:
    """Fetch a version of a registered model, write its folder, print its number."""
    parser = StepParser("pin_model", __doc__)
    with parser.step() as arguments:
        from crossface.pin_model.config import PinConfig
        from crossface.pin_model.pin import pin_model

        pinned = pin_model(PinConfig.parse(arguments.config, "pin"), arguments.out)
        print(f"{pinned.name} version {pinned.version}")


if __name__ == "__main__":
    main()
