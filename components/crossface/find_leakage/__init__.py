"""Step find_leakage: which faces are copies of one another, and which of them training must leave out."""
