"""The network: its parts, how it is saved, and how it is used."""
