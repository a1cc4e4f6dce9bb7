"""A folder of choices: one MIL model per file."""
