"""Step 6, the model: bag to logits, attention and losses; knows no file and no slide."""
