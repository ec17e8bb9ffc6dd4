"""The training DAG.

::

    ExitHandler(finalize)
      ParallelFor(dataset in datasets):  ingest -> crop_faces
      Collected(crops) -> find_leakage             copies of a face in two splits
      Collected(crops) -> probe_bias
      crops without copies -> train(baseline)      the datasets pooled
      crops without copies -> train(adapted)       cross-dataset adaptation
      models, crops, bias, copies -> evaluate      tables, figures, bias before and after
      ParallelFor(dataset in datasets):  chart     its scores as Kubeflow draws them
      If(evaluate passed) -> register
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, List  # noqa: UP035  KFP reads the type of a loop's items from typing.List

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model

from crossface.chart.component import chart
from crossface.crop_faces.component import crop_faces
from crossface.evaluate.component import evaluate
from crossface.finalize.component import finalize
from crossface.find_leakage.component import find_leakage
from crossface.ingest.component import ingest
from crossface.probe_bias.component import probe_bias
from crossface.register.component import register
from crossface.train.component import train
from crossface_pipelines.profiles import Profile


@dataclass(frozen=True)
class Prepared:
    """What training and evaluation read."""

    crops: Callable[[], dsl.Collected]
    """A new one for each consumer: compiling changes the object."""
    leakage: Any
    bias: Any


@dataclass(frozen=True)
class Trained:
    """Both models."""

    baseline: Any
    adapted: Any


def closing(profile: Profile) -> dsl.ExitHandler:
    """A block after which, whatever happens inside, the MLflow run is closed."""
    return dsl.ExitHandler(profile.place(finalize(), "finalize", cache=False))


def prepared(profile: Profile, datasets: Any, crop: Any, leakage: Any, probe: Any) -> Prepared:
    """All steps before training."""
    with dsl.ParallelFor(datasets, name="datasets") as dataset:
        records = profile.place(ingest(dataset=dataset), "ingest")
        crops = profile.place(
            crop_faces(dataset=dataset, config=crop, records=records.outputs["records"]), "crop_faces"
        )

    def faces() -> dsl.Collected:
        return dsl.Collected(crops.outputs["crops"])

    copies = profile.place(find_leakage(crops=faces(), config=leakage), "find_leakage")
    bias = profile.place(probe_bias(crops=faces(), config=probe), "probe_bias")
    return Prepared(faces, copies.outputs["leakage"], bias.outputs["bias"])


def trained(profile: Profile, data: Prepared, baseline: Any, adapted: Any) -> Trained:
    """The baseline and the adapted model."""
    pooled, cross = (
        profile.place(train(crops=data.crops(), leakage=data.leakage, config=config), "train")
        for config in (baseline, adapted)
    )
    pooled.set_display_name("train baseline")
    cross.set_display_name("train adapted")
    return Trained(pooled.outputs["model"], cross.outputs["model"])


def evaluated(
    profile: Profile, datasets: Any, data: Prepared, models: Trained, evaluation: Any, **others: Any
) -> dsl.PipelineTask:
    """The evaluation of both models, and of ``others`` where a study has some; charts of each dataset."""
    task = evaluate(
        crops=data.crops(),
        baseline=models.baseline,
        adapted=models.adapted,
        bias=data.bias,
        leakage=data.leakage,
        config=evaluation,
        **others,
    )
    judged = profile.place(task, "evaluate", cache=False)
    with dsl.ParallelFor(datasets, name="charts") as dataset:
        profile.place(chart(dataset=dataset, evaluation=judged.outputs["evaluation"]), "chart", cache=False)
    return judged


def registration_pipeline(profile: Profile) -> dsl.base_component.BaseComponent:
    """The registration of the adapted model, if it passed.

    A pipeline of its own, because the body of a condition cannot collect what a loop made.
    """

    @dsl.pipeline(name="crossface-registration")
    def crossface_registration(
        passed: bool,
        crops: Input[List[Dataset]],  # noqa: UP006
        model: Input[Model],
        evaluation: Input[Artifact],
        config: dict,
    ) -> None:
        with dsl.If(passed == True, name="passed"):  # noqa: E712  a KFP condition
            task = register(crops=crops, model=model, evaluation=evaluation, config=config)
            profile.place(task, "register", cache=False)

    return crossface_registration


def train_and_register(
    profile: Profile,
    register_if_passed: Any,
    datasets: Any,
    crop: Any,
    leakage: Any,
    probe: Any,
    baseline: Any,
    adapted: Any,
    evaluation: Any,
    registration: Any,
) -> None:
    """All steps but the last, which closes the run; ``register_if_passed``: see above."""
    data = prepared(profile, datasets, crop, leakage, probe)
    models = trained(profile, data, baseline, adapted)
    judged = evaluated(profile, datasets, data, models, evaluation)
    register_if_passed(
        passed=judged.outputs["Output"],
        crops=data.crops(),
        model=models.adapted,
        evaluation=judged.outputs["evaluation"],
        config=registration,
    ).set_caching_options(False)


def training_pipeline(profile: Profile) -> dsl.base_component.BaseComponent:
    """Build the pipeline for where it will run.

    Where a task runs is fixed when the pipeline is compiled: settings given at run time need fields that
    older Kubeflow backends do not know.
    """
    registration_if_passed = registration_pipeline(profile)

    @dsl.pipeline(
        name="crossface-training", description="Unbiased facial expression recognition across datasets"
    )
    def crossface_training(
        datasets: List[dict],  # noqa: UP006
        crop: dict,
        leakage: dict,
        probe: dict,
        baseline: dict,
        adapted: dict,
        evaluation: dict,
        registration: dict,
    ) -> None:
        with closing(profile):
            train_and_register(
                profile, registration_if_passed, datasets, crop, leakage, probe, baseline, adapted,
                evaluation, registration,
            )  # fmt: skip

    return crossface_training
