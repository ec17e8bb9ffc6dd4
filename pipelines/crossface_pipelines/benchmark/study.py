"""Which models a study trains besides the baseline and the adapted one."""

from collections.abc import Iterator
from typing import Any, Literal

from crossface.config import Config
from crossface.errors import ConfigError
from crossface.train.config import TrainConfig


class StudyConfig(Config):
    """What a study asks."""

    alone: bool = True
    """One model without adaptation on each dataset alone: the paper's Table 2, and Table 4's first row."""
    left_out: bool = True
    """Baseline and adapted on all datasets but one, for each of them."""
    methods: tuple[Literal["heads", "dann", "coral", "cda"], ...] = ("heads", "dann", "coral")
    """Other methods on all datasets, each with the settings of the adapted model."""


def study_trainings(
    study: StudyConfig, keys: list[str], baseline: TrainConfig, adapted: TrainConfig
) -> list[dict[str, Any]]:
    """The trainings of a study, as plain JSON values; none twice.

    Args:
        study: what it asks.
        keys: of the datasets.
        baseline: the pipeline's own.
        adapted: the same.

    Raises:
        ConfigError: there is only one dataset, or nothing is asked.
    """
    if len(keys) < 2:
        raise ConfigError("datasets: a study needs two or more")
    known: set[tuple[str, tuple[str, ...]]] = {(baseline.adapt, ()), (adapted.adapt, ())}
    found = []
    for config, adapt, datasets in _asked(study, keys, baseline, adapted):
        if (adapt, datasets) not in known:
            known.add((adapt, datasets))
            found.append(_variant(config, adapt, datasets).model_dump(mode="json", exclude_none=True))
    if not found:
        raise ConfigError("study: asks for nothing that is not trained anyway")
    return found


def _asked(
    study: StudyConfig, keys: list[str], baseline: TrainConfig, adapted: TrainConfig
) -> Iterator[tuple[TrainConfig, str, tuple[str, ...]]]:
    if study.alone:
        for key in keys:
            yield baseline, "none", (key,)
    if study.left_out:
        for left_out in keys:
            rest = tuple(key for key in keys if key != left_out)
            for config in (baseline, adapted):
                yield config, config.adapt, rest
    for method in study.methods:
        yield adapted, method, ()


def _variant(config: TrainConfig, adapt: str, datasets: tuple[str, ...]) -> TrainConfig:
    """The same training by another method or on fewer datasets, with a checkpoint of its own."""
    update: dict[str, Any] = {"adapt": adapt, "datasets": datasets}
    if uri := config.checkpoint.uri.rstrip("/"):
        place = "-".join((uri, adapt, *datasets))
        update["checkpoint"] = config.checkpoint.model_copy(update={"uri": place})
    return config.model_copy(update=update)
