"""WSI-SAM at work: tokens trained on drawn lesions, prompts turned into polygons, and both judged."""
