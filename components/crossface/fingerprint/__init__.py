"""Step fingerprint: gives each dataset that names no revision one of its own, from its files."""
