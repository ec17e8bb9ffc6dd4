"""Step evaluate: the adapted model against the baseline, in accuracy and in bias, and the gate."""
