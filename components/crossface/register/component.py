"""The KFP face of the step."""

from typing import List  # noqa: UP035  KFP resolves lists of artifacts through typing.List

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model


@dsl.component(base_image="python-crossface-torch", install_kfp_package=False)
def register(
    crops: Input[List[Dataset]],  # noqa: UP006
    model: Input[Model],
    evaluation: Input[Artifact],
    config: dict,
) -> str:
    """Register the model that passed.

    Args:
        crops: a crops folder a dataset, on which a copy in int8 is tested; else they are not looked at.
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
        faces = [Path(folder.path) for folder in crops]
        version = register(Path(model.path), Path(evaluation.path), parsed, run.run_id, faces)
        run.set_tags({"crossface.model_version": version})
    return version
