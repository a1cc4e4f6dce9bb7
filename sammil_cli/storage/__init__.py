"""Atomic files with provenance, and the per-slide result store."""
