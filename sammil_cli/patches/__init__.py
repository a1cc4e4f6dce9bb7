"""Step 3, the grid of patches."""
