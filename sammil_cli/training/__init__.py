"""Step 7, learning: cohort, folds, loop, trained models."""
