"""A folder of choices: one way to spread slides over processes per file."""
