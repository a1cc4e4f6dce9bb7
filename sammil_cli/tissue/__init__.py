"""Step 2, where: tissue masks."""
