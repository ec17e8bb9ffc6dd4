"""Step detect_changes: whether anything is new since the last finished run."""
