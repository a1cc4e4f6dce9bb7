"""The frozen SAM in its four sizes: built, loaded from files as people have them, and asked for embeddings."""

import sammil_cli.regions.light_torchvision  # noqa: F401 - before segment-anything, which imports torchvision
