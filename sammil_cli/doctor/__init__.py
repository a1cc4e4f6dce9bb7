"""sammil doctor: is everything here that sammil needs, and if not, what to do? One file for each group of checks."""
