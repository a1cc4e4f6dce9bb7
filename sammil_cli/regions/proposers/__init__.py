"""A folder of choices: one region proposer per file."""
