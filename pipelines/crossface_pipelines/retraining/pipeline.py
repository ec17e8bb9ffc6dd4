"""The retraining DAG: what a schedule runs.

::

    ExitHandler(finalize)
      fingerprint                                  a revision for each dataset that names none
      detect_changes                               against the last finished run
      If(anything is new):  training               all of it, as by hand
"""

from typing import List  # noqa: UP035  KFP reads the type of a loop's items from typing.List

from kfp import dsl

from crossface.detect_changes.component import detect_changes
from crossface.fingerprint.component import fingerprint
from crossface_pipelines.profiles import Profile
from crossface_pipelines.training.pipeline import closing, registration_pipeline, train_and_register


def retraining_pipeline(profile: Profile) -> dsl.base_component.BaseComponent:
    """Build the pipeline for where it will run.

    A run without news ends well, and early.
    """
    registration_if_passed = registration_pipeline(profile)

    @dsl.pipeline(name="crossface-retraining", description="Training, when anything is new to learn from")
    def crossface_retraining(
        datasets: List[dict],  # noqa: UP006
        crop: dict,
        leakage: dict,
        probe: dict,
        baseline: dict,
        adapted: dict,
        evaluation: dict,
        registration: dict,
        model_name: str,
        settings: str,
    ) -> None:
        with closing(profile):
            revised = profile.place(fingerprint(datasets=datasets), "fingerprint", cache=False).output
            task = detect_changes(datasets=revised, model_name=model_name, settings=settings)
            news = profile.place(task, "detect_changes", cache=False)
            with dsl.If(news.output == True, name="new"):  # noqa: E712  a KFP condition
                train_and_register(
                    profile, registration_if_passed, revised, crop, leakage, probe, baseline, adapted,
                    evaluation, registration,
                )  # fmt: skip

    return crossface_retraining
