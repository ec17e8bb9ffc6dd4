"""The benchmark: the training pipeline with a study of what carries over from dataset to dataset."""
