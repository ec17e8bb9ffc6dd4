"""Step score: reads the expressions of many photos, and says how these differ from training."""
