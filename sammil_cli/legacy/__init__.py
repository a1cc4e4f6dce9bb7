"""Files of older tools, read without trusting them."""
