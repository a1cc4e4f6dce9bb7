"""The cohort: which slides carry which label and belong to which patient, and every slip in the tables."""
