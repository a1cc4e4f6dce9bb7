"""Step 1, pixels: slides and how they are read."""
