"""The frozen SAM in its four sizes: built, loaded from files as people have them, and asked for embeddings."""
