"""The training DAG.

::

    ExitHandler(finalize)
      ParallelFor(dataset in datasets):  ingest -> crop_faces
      Collected(crops) -> find_leakage             copies of a face in two splits
      Collected(crops) -> probe_bias
      crops without copies -> train(baseline)      the datasets pooled
      crops without copies -> train(adapted)       cross-dataset adaptation
      models, crops, bias, copies -> evaluate      tables, figures, bias before and after
      If(evaluate passed) -> register
"""

from typing import List  # noqa: UP035  KFP reads the type of a loop's items from typing.List

from kfp import dsl

from crossface.crop_faces.component import crop_faces
from crossface.evaluate.component import evaluate
from crossface.finalize.component import finalize
from crossface.find_leakage.component import find_leakage
from crossface.ingest.component import ingest
from crossface.probe_bias.component import probe_bias
from crossface.register.component import register
from crossface.train.component import train
from crossface_pipelines.profiles import Profile


def training_pipeline(profile: Profile) -> dsl.base_component.BaseComponent:
    """Build the pipeline for where it will run.

    Where a task runs is fixed when the pipeline is compiled: settings given at run time need fields that
    older Kubeflow backends do not know.
    """

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
        closing = profile.place(finalize(), "finalize", cache=False)
        with dsl.ExitHandler(closing):
            with dsl.ParallelFor(datasets, name="datasets") as dataset:
                records = profile.place(ingest(dataset=dataset), "ingest")
                crops = profile.place(
                    crop_faces(dataset=dataset, config=crop, records=records.outputs["records"]), "crop_faces"
                )

            def faces() -> dsl.Collected:
                # one for each consumer: compiling changes the object
                return dsl.Collected(crops.outputs["crops"])

            copies = profile.place(find_leakage(crops=faces(), config=leakage), "find_leakage")
            bias = profile.place(probe_bias(crops=faces(), config=probe), "probe_bias")
            pooled, cross = (
                profile.place(
                    train(crops=faces(), leakage=copies.outputs["leakage"], config=config), "train"
                ).set_display_name(name)
                for name, config in (("train baseline", baseline), ("train adapted", adapted))
            )
            judged = profile.place(
                evaluate(
                    crops=faces(),
                    baseline=pooled.outputs["model"],
                    adapted=cross.outputs["model"],
                    bias=bias.outputs["bias"],
                    leakage=copies.outputs["leakage"],
                    config=evaluation,
                ),
                "evaluate",
                cache=False,
            )
            with dsl.If(judged.outputs["Output"] == True, name="passed"):  # noqa: E712  a KFP condition
                profile.place(
                    register(
                        model=cross.outputs["model"],
                        evaluation=judged.outputs["evaluation"],
                        config=registration,
                    ),
                    "register",
                    cache=False,
                )

    return crossface_training
