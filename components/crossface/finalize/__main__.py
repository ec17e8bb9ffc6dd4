"""``python -m crossface.finalize RUN_ID STATE``: the step from a shell."""

import argparse

from crossface.finalize.finalize import close_parent_run


def main() -> None:
    """Close the parent run of a pipeline run."""
    parser = argparse.ArgumentParser(prog="python -m crossface.finalize", description=__doc__)
    parser.add_argument("run_id", help="id of the pipeline run (KFP_RUN_ID of its steps)")
    parser.add_argument("state", help="SUCCEEDED, FAILED or CANCELLED")
    arguments = parser.parse_args()
    print(close_parent_run(arguments.run_id, arguments.state))


if __name__ == "__main__":
    main()
