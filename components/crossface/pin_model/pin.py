"""From an alias to the files of one version, so that whatever the alias does next changes nothing."""

from pathlib import Path

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from crossface.data.storage import atomic_folder
from crossface.errors import ConfigError, DataError
from crossface.model.served import MODEL_TAG, ServedModel, open_served, write_pin
from crossface.pin_model.config import PinConfig

_NOT_THERE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


def pin_model(config: PinConfig, out: Path) -> ServedModel:
    """Fetch the version that is meant and write its folder, with a note of which one it is, to ``out``.

    Raises:
        ConfigError: there is no such model, alias or version.
        DataError: files of the version are missing, or are not those that were registered.
        MlflowException: the registry cannot be reached.
    """
    version = _resolve(MlflowClient(), config)
    number = str(version.version)
    with atomic_folder(out) as part:
        mlflow.artifacts.download_artifacts(f"models:/{version.name}/{number}", dst_path=str(part))
        write_pin(part, version.name, number)
        found = open_served(part).sha256
        expected = version.tags.get(MODEL_TAG, found)
        if found != expected:
            raise DataError(
                f"{version.name} version {number}: its network is not the one of the tag {MODEL_TAG}:"
                f" sha256 {found}, not {expected}"
            )
    return open_served(out)


def _resolve(client: MlflowClient, config: PinConfig) -> ModelVersion:
    name = config.model_name
    try:
        model = client.get_registered_model(name)
        if config.version:
            return client.get_model_version(name, config.version)
        if config.alias not in model.aliases:
            known = ", ".join(sorted(model.aliases)) or "none"
            raise ConfigError(f"pin.alias: no version of {name} is its {config.alias}; aliases: {known}")
        return client.get_model_version(name, str(model.aliases[config.alias]))
    except MlflowException as error:
        if error.error_code not in _NOT_THERE:
            raise
        what = f"version {config.version}" if config.version else "model of this name"
        raise ConfigError(f"pin: the registry has no {what}: {name}") from None
