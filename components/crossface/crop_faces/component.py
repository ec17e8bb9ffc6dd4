"""The KFP face of crop_faces."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Output


@dsl.component(base_image="python-crossface-data", install_kfp_package=False)
def crop_faces(dataset: dict, config: dict, records: Input[Dataset], crops: Output[Dataset]) -> None:
    """Cut every recorded face out of its photo as a square of one size.

    Args:
        dataset: the fields of IngestConfig; only the key is used, to name the run.
        config: the fields of CropConfig.
        records: folder that ingest wrote.
        crops: folder with part-*.parquet, one row a crop, and rejects.parquet.
    """
    from pathlib import Path

    from crossface import tracking
    from crossface.crop_faces.config import CropConfig
    from crossface.crop_faces.crop import crop_faces as cut_faces

    parsed = CropConfig.parse(config, "crop")
    with tracking.step_run(
        "crop_faces", variant=dataset["key"], params=parsed.model_dump(mode="json")
    ) as run:
        summary = cut_faces(Path(records.path), parsed, Path(crops.path))
        print(summary)
        run.log_metrics(summary.metrics())
        run.log_dataset(name=summary.dataset, source=records.uri, digest=records.metadata["digest"])
    crops.metadata.update({"dataset": summary.dataset, "digest": summary.digest, "mlflow_run_id": run.run_id})
    crops.metadata["faces"] = float(summary.counts.total)
