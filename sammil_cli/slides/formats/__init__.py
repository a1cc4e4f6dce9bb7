"""A folder of choices: one slide reader per file."""
