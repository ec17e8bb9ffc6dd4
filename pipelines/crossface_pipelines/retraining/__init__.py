"""Retraining: the training pipeline, if there is anything new to learn from."""
