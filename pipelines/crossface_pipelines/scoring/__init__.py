"""Batch scoring: the expressions of a folder or bucket of photos, with one version of a model."""
