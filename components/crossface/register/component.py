"""The KFP face of the step."""


from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model


@dsl.component(base_image="python-crossface-torch", install_kfp_package=False)
def register(
    crops: Input[list[Dataset]], model: Input[Model], evaluation: Input[Artifact], config: dict
) -> str:
    """Register the model that passed.

    Args:
        crops: a crops folder a dataset; a few test crops check the export.
        model: the adapted model's folder.
        evaluation: evaluate's folder; its metrics become tags of the version.
        config: RegisterConfig.

    Returns:
        The version in the registry.
    """
    from pathlib import Path

    from crossface import tracking
    from crossface.register.config import RegisterConfig
    from crossface.register.register import register

    parsed = RegisterConfig.parse(config, where="register")
    folders = [Path(folder.path) for folder in crops]
    with tracking.step_run("register", params=parsed.model_dump(), required=True) as run:
        version = register(folders, Path(model.path), Path(evaluation.path), parsed, run.run_id)
        run.set_tags({"crossface.model_version": version})
    return version
