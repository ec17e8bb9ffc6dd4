"""The KFP face of ingest."""

from kfp import dsl
from kfp.dsl import Dataset, Output


@dsl.component(base_image="python-crossface-data", install_kfp_package=False)
def ingest(dataset: dict, records: Output[Dataset]) -> None:
    """Read one labelled dataset, in its publisher's layout, as one table of faces.

    Args:
        dataset: the fields of IngestConfig: key, format, source and how to split.
        records: folder with records.parquet, one row a face, and rejects.parquet.
    """
    from pathlib import Path

    from crossface import tracking
    from crossface.ingest.config import IngestConfig
    from crossface.ingest.ingest import ingest as read_dataset

    config = IngestConfig.parse(dataset, "dataset")
    with tracking.step_run("ingest", variant=config.key, params=config.model_dump(mode="json")) as run:
        summary = read_dataset(config, Path(records.path))
        print(summary)
        run.log_metrics(summary.metrics())
        run.log_dataset(name=config.key, source=config.source, digest=summary.digest)
    records.metadata.update({"dataset": config.key, "digest": summary.digest, "mlflow_run_id": run.run_id})
    records.metadata["faces"] = float(summary.counts.total)
