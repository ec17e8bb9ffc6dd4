"""Step probe_bias: how biased the datasets are before anything is trained."""
