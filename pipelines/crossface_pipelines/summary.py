"""What a run ends with: a short table, and what to look at next."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient

from crossface import tracking
from crossface_pipelines.local import LocalRun, shown


def text(run: LocalRun, tracking_uri: str, model_name: str) -> str:
    """The table of a run, its report, the registered version or why there is none, and how to open MLflow.

    Args:
        run: what ran.
        tracking_uri: of MLflow.
        model_name: in the registry; empty for a pipeline that registers none.
    """
    metrics = json.loads((run.folder / "metrics.json").read_text())
    lines = ["", *accuracy_table(metrics), "", *probe_lines(metrics), ""]
    lines.append(f"report      {shown(run.report)}")
    if model_name:
        lines.append(f"registered  {_registered(run, metrics, model_name)}")
    lines += [f"MLflow      {open_mlflow(tracking_uri)}"]
    return "\n".join(lines)


def accuracy_table(metrics: Mapping) -> list[str]:
    """Accuracy and balanced accuracy of both models on each dataset's test split (mean of the heads)."""
    models = metrics["models"]
    pair = f"  {'baseline':>8}  {adapted_name(metrics):>8}"
    lines = [f"{'':12}  {'accuracy':^18}  {'balanced accuracy':^18}", f"{'test set':12}{pair}{pair}"]
    rows = {
        name: {key: models[key]["per_dataset"][name]["mean"] for key in models}
        for name in metrics["datasets"]
    }
    rows["mean"] = {key: models[key]["average"]["mean"] for key in models}
    for name, heads in rows.items():
        cells = [
            heads[key][measure]
            for measure in ("accuracy", "balanced_accuracy")
            for key in ("baseline", "adapted")
        ]
        lines.append(f"{name:12}" + "".join(f"  {value:8.3f}" for value in cells))
    return lines


def probe_lines(metrics: Mapping) -> list[str]:
    """How well a fresh probe names the dataset from the features, before and after."""
    probes = {key: metrics["models"][key]["probe"] for key in ("baseline", "adapted")}
    if not all(probes.values()):
        return ["dataset probe: nothing to tell apart with one dataset"]
    chance = probes["baseline"]["chance"]
    return [
        f"dataset probe  {label} {probe['accuracy']:.3f} [{probe['low']:.3f}, {probe['high']:.3f}]"
        for label, probe in (
            (f"{'baseline':8}", probes["baseline"]),
            (f"{adapted_name(metrics):8}", probes["adapted"]),
        )
    ] + [f"               {'chance':8} {chance:.3f}"]


def adapted_name(metrics: Mapping) -> str:
    """How the adapted model is called in a table."""
    return str(metrics["models"]["adapted"]["adapt"]).upper()


def _registered(run: LocalRun, metrics: Mapping, model_name: str) -> str:
    verdict = metrics["verdict"]
    if not verdict["passed"]:
        return f"no. {verdict['sentence']}"
    tags = [found.data.tags for found in tracking.step_runs(MlflowClient(), run.run_id, "register")]
    version = tags[0]["crossface.model_version"]
    return f"{model_name} version {version}"


def open_mlflow(tracking_uri: str) -> str:
    """The address of a server, or the command that serves a store, as one would type it here."""
    if tracking_uri.startswith("http"):
        return tracking_uri
    command = shown(Path(sys.executable).with_name("mlflow"))
    return f"{command} ui --backend-store-uri {tracking_uri}"
