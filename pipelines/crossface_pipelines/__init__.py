"""Compile, submit and run the pipelines. Nothing here is imported by a step."""
