"""A folder of choices: one tissue segmenter per file."""
