"""Cuts faces out of photos and measures how these were taken; in training and in scoring the same pixels."""
