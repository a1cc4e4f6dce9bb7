"""WSI-SAM: a frozen SAM that sees each place at two resolutions (docs/methods.md §12)."""
