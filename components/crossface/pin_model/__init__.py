"""Step pin_model: finds out which version an alias means now, and fetches that one."""
