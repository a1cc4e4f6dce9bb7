"""sammil: whole-slide images to slide-level diagnoses with SAM-MIL."""

__version__ = "0.1.0"
