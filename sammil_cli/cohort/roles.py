"""The parts of a fold that a slide may belong to."""

ROLES = ("train", "val", "test")
