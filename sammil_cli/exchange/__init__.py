"""Exchange with other tools: old files in, bags and weights out."""
