"""The KFP face of the step."""

from kfp import dsl
from kfp.dsl import Model, Output


@dsl.component(base_image="python-crossface-data", install_kfp_package=False)
def pin_model(config: dict, model: Output[Model]) -> str:
    """Fetch the version of a registered model that an alias means now.

    Args:
        config: PinConfig.
        model: the version's folder.

    Returns:
        The version's number.
    """
    from pathlib import Path

    from crossface import tracking
    from crossface.pin_model.config import PinConfig
    from crossface.pin_model.pin import pin_model as fetch

    parsed = PinConfig.parse(config, where="pin")
    with tracking.step_run("pin_model", params=parsed.model_dump(), required=True) as run:
        pinned = fetch(parsed, Path(model.path))
        run.set_tags({"crossface.model_version": pinned.version, "crossface.model_sha256": pinned.sha256})
    model.metadata.update({"model_name": pinned.name, "version": pinned.version, "sha256": pinned.sha256})
    return pinned.version
