"""One file per command: the only code that loops over slides."""
