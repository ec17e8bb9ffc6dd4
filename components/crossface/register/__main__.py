"""``python -m crossface.register``: the step from a shell."""

from crossface.shell import StepParser


def main() -> None:
    """Register a model folder; --out gets the version as text."""
    parser = StepParser("register", __doc__)
    parser.add_argument("crops", nargs="*", type=parser.folder, help="for int8: a crops folder a dataset")
    parser.add_argument("--model", type=parser.folder, required=True, help="model folder")
    parser.add_argument("--evaluation", type=parser.folder, required=True, help="folder that evaluate wrote")
    with parser.step() as arguments:
        from crossface import tracking
        from crossface.register.config import RegisterConfig
        from crossface.register.register import register

        config = RegisterConfig.parse(arguments.config, "register")
        with tracking.step_run("register", params=config.model_dump(), required=True) as run:
            folders = arguments.model, arguments.evaluation
            version = register(*folders, config, run.run_id, arguments.crops)
        arguments.out.write_text(version + "\n")
        print(f"{config.model_name} version {version}")


if __name__ == "__main__":
    main()
