"""Readers of publishers' layouts: one module a format, all with the interface of ``face.Reader``."""
