"""What runs a network in torch's place, with the same numbers; torch itself is used where it is needed."""
