"""Step 5, the bag: patch features, group features and the regions they lie in."""
