"""Unbiased facial expression recognition across datasets: the steps and what they share.

Imports run one way: steps (``ingest`` ... ``finalize``) -> ``bias``, ``model``, ``tracking`` -> ``data``.
Steps never import each other.
"""

__version__ = "0.1.0"
