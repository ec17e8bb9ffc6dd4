"""The KFP face of the step."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Model


@dsl.component(base_image="python-crossface-torch", install_kfp_package=False)
def register(model: Input[Model], evaluation: Input[Artifact], config: dict) -> str:
    """Register the model that passed.

    Args:
        model: the adapted model's folder.
        evaluation: evaluate's folder: its metrics become model card and tags, its crops check the export.
        config: RegisterConfig.

    Returns:
        The version in the registry.
    """
    from pathlib import Path

    from crossface import tracking
    from crossface.register.config import RegisterConfig
    from crossface.register.register import register

    parsed = RegisterConfig.parse(config, where="register")
    with tracking.step_run("register", params=parsed.model_dump(), required=True) as run:
        version = register(Path(model.path), Path(evaluation.path), parsed, run.run_id)
        run.set_tags({"crossface.model_version": version})
    return version
