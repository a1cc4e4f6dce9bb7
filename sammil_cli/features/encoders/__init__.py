"""A folder of choices: one patch encoder per file."""
