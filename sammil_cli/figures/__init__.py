"""The paper's figures of a user's own cohort, one file each, with the numbers beside them."""
