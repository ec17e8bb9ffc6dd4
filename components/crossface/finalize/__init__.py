"""Step ``finalize``: closes the pipeline run's parent run in MLflow, however the pipeline ended."""
