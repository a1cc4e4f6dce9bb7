"""Step 8, judging: metrics, curves, heatmaps, pages."""
