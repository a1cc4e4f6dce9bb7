"""What is done with one slide or one fold: the code that a result depends on."""
