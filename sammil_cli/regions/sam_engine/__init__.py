"""The Segment Anything Model's automatic masks: the official model, an engine of our own (docs/methods.md §14)."""
