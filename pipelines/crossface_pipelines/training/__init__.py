"""The training pipeline: datasets in, a registered model that cannot tell them apart out."""
