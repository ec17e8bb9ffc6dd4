"""Step ingest: reads one labelled dataset, in its publisher's layout, as one table of faces."""
