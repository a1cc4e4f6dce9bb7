"""The Segment Anything Model's automatic masks: the official model, an engine of our own (docs/methods.md §14)."""

import sammil_cli.regions.light_torchvision  # noqa: F401 - before segment-anything, which imports torchvision
