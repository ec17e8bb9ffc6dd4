"""Step ``chart``: the scores of one dataset, as Kubeflow draws them."""
