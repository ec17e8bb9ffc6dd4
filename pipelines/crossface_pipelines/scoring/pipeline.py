"""The scoring DAG.

::

    ExitHandler(finalize)
      pin_model                    which version the alias means now, and its files
      model, photos -> score       Parquet, rejects, drift
"""

from kfp import dsl

from crossface.finalize.component import finalize
from crossface.pin_model.component import pin_model
from crossface.score.component import score as score_photos
from crossface_pipelines.profiles import Profile


def scoring_pipeline(profile: Profile) -> dsl.base_component.BaseComponent:
    """Build the pipeline for where it will run.

    Nothing comes from a cache: an alias moves, and what is done is in the checkpoint.
    """

    @dsl.pipeline(name="crossface-scoring", description="Expressions of a folder or bucket of photos")
    def crossface_scoring(pin: dict, score: dict) -> None:
        closing = profile.place(finalize(), "finalize", cache=False)
        with dsl.ExitHandler(closing):
            pinned = profile.place(pin_model(config=pin), "pin_model", cache=False)
            task = score_photos(model=pinned.outputs["model"], config=score)
            profile.place(task, "score", cache=False)

    return crossface_scoring
