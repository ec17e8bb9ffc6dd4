"""Step ``register``: the model that passed becomes a version in the MLflow registry."""
