"""Trained models as they are used and shipped: the folds of a run together, or one file that holds them."""
