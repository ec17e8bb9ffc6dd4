"""The client side of a Kubeflow cluster: runs, schedules, and whether everything is in place."""
