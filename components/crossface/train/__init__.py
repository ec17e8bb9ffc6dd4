"""Step ``train``: the pooled baseline, or one network that cannot tell the datasets apart."""
