"""Step 4, SAM: regions of the tissue."""
