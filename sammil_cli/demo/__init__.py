"""The demo cohort: drawn slides with known lesions, so that the whole pipeline runs and is judged anywhere."""
