"""Measures of dataset bias, shared by the steps that measure it before and after training."""
