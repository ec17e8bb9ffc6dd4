"""``crossface score``: the scoring pipeline on this machine, and what it came to."""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossface_pipelines.local import LocalRun

PARAMS = Path(__file__).parent / "params"


def score(arguments: argparse.Namespace) -> None:
    """Run the pipeline and print its end.

    Args:
        arguments: ``params``, ``set`` and ``runs``.

    Raises:
        CrossfaceError: a parameter is wrong, or a step failed.
    """
    from crossface_pipelines.scoring.params import load_params

    params = load_params(params_file(arguments.params), arguments.set)
    from crossface_pipelines.local import open_run, run_locally
    from crossface_pipelines.runners import process_runner
    from crossface_pipelines.scoring.pipeline import scoring_pipeline

    values = params.with_revision().arguments()
    with open_run(arguments.runs) as run_id:
        runner, profile = process_runner(caching=False)
        pipeline = scoring_pipeline(profile)
        done = run_locally(
            run_id, pipeline, values, arguments.runs, runner, caching=False, report="scores/drift.html"
        )
    assert done is not None  # scoring always has a report
    print(text(done, os.environ["MLFLOW_TRACKING_URI"]))


def params_file(name: str) -> Path:
    """A path, or the name of a params file that comes along."""
    shipped = PARAMS / f"{name}.yaml"
    return shipped if shipped.is_file() else Path(name)


def text(run: "LocalRun", tracking_uri: str) -> str:
    """The expression mix, the rejects, the drift in words, and where everything is."""
    from crossface_pipelines.local import shown
    from crossface_pipelines.summary import open_mlflow

    found = json.loads((run.folder / "drift.json").read_text())
    rejects = ", ".join(f"{count} {reason}" for reason, count in found["rejects"].items()) or "none"
    lines = [
        *("", *mix_table(found), ""),
        f"model       {found['model']['name']} version {found['model']['version']}",
        f"rejects     {rejects}",
        f"drift       {found['drift']}",
        f"scores      {shown(run.folder)}",
        f"report      {shown(run.report)}",
        f"MLflow      {open_mlflow(tracking_uri)}",
    ]
    return "\n".join(lines)


def mix_table(found: Mapping) -> list[str]:
    """Faces and shares by expression, beside what the model says of the dev faces where that is known.

    Args:
        found: the content of ``drift.json``.
    """
    answers = found["reference"] and found["reference"]["answers"]
    lines = [f"{'expression':12}{'faces':>9}{'share':>9}" + (f"{'of dev':>9}" if answers else "")]
    for name, count in found["expressions"].items():
        line = f"{name:12}{count:9,}{count / found['faces']:9.3f}"
        lines.append(line + (f"{answers[name] / sum(answers.values()):9.3f}" if answers else ""))
    return lines
