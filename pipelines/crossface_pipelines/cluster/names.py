"""Pipelines that a cluster can be given."""

PIPELINES = ("training", "retraining", "benchmark", "scoring")
"""The names that :func:`crossface_pipelines.compiling.build` knows; the first is the default."""
