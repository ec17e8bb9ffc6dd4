"""May a version follow the champion that is there now? As of the evaluations that are kept with both."""

from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from crossface.errors import DataError
from crossface.gate.champion import Judged, read_judged
from crossface.gate.judge import judge
from crossface.gate.policy import GatePolicy
from crossface.gate.verdict import Verdict
from crossface.register.names import CHAMPION, FP32_VERSION_TAG
from crossface.tracking import EVALUATION_FILES, EVALUATION_FOLDER


def judge_versions(client: MlflowClient, name: str, version: str, champion: str) -> Verdict:
    """Apply the gate to two versions, by the policy that the candidate was judged by before.

    Args:
        client: of the registry.
        name: of the registered model.
        version: of the candidate.
        champion: version of the champion.

    Raises:
        DataError: a version's run has no evaluation.
    """
    candidate, best = (_kept(client, name, number) for number in (version, champion))
    return _judge(candidate, best)


def judge_copy(name: str, candidate: Judged, source: Judged) -> Verdict:
    """Apply the gate to a copy of a model in another precision that has no version yet.

    Args:
        name: of the registered model.
        candidate: the copy.
        source: that it is a copy of; what it is compared with where there is no champion.

    Raises:
        DataError: the champion's run has no evaluation.
    """
    client = MlflowClient()
    champion = client.get_registered_model(name).aliases.get(CHAMPION)
    return _judge(candidate, source if champion is None else _kept(client, name, str(champion)))


def _judge(candidate: Judged, best: Judged) -> Verdict:
    settings = candidate.metrics["settings"]
    return judge(candidate, best, GatePolicy.parse(settings["gate"], "gate"), settings["seed"])


def _kept(client: MlflowClient, name: str, version: str) -> Judged:
    registered = client.get_model_version(name, version)
    run = registered.run_id
    with TemporaryDirectory() as folder:
        try:
            for file in EVALUATION_FILES:
                found = Path(client.download_artifacts(run, f"{EVALUATION_FOLDER}/{file}", folder))
        except (MlflowException, OSError):
            raise DataError(
                f"{name} version {version}: its run {run} has no {EVALUATION_FOLDER}/{file} to compare"
            ) from None
        return read_judged(found.parent, version, registered.tags.get(FP32_VERSION_TAG, ""))
