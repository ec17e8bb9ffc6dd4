"""The benchmark DAG: that of training, and the models of a study beside its two; nothing is registered.

::

    training, up to its two models
    ParallelFor(training in trainings):  train     some of the datasets, other methods
    models, those of the study -> evaluate         the paper's tables and figures in one report
"""

from typing import List  # noqa: UP035  KFP reads the type of a loop's items from typing.List

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model

from crossface.train.component import train
from crossface_pipelines.profiles import Profile
from crossface_pipelines.training.pipeline import closing, evaluated, prepared, trained


def benchmark_pipeline(profile: Profile) -> dsl.base_component.BaseComponent:
    """Build the pipeline for where it will run."""

    # a pipeline of its own, because the body of a loop cannot collect what another loop made
    @dsl.pipeline(name="crossface-study")
    def study(
        crops: Input[List[Dataset]],  # noqa: UP006
        leakage: Input[Artifact],
        trainings: List[dict],  # noqa: UP006
    ) -> List[Model]:  # noqa: UP006
        with dsl.ParallelFor(trainings, name="trainings") as config:
            model = profile.place(train(crops=crops, leakage=leakage, config=config), "train")
        return dsl.Collected(model.outputs["model"])

    @dsl.pipeline(name="crossface-benchmark", description="What carries over from dataset to dataset")
    def crossface_benchmark(
        datasets: List[dict],  # noqa: UP006
        crop: dict,
        leakage: dict,
        probe: dict,
        baseline: dict,
        adapted: dict,
        evaluation: dict,
        trainings: List[dict],  # noqa: UP006
    ) -> None:
        with closing(profile):
            data = prepared(profile, datasets, crop, leakage, probe)
            models = trained(profile, data, baseline, adapted)
            others = study(crops=data.crops(), leakage=data.leakage, trainings=trainings)
            others.set_caching_options(False)  # its trainings have their own
            evaluated(profile, datasets, data, models, evaluation, others=others.output)

    return crossface_benchmark
