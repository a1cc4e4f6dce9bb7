"""A project folder: where everything lies, how a run is asked for, and its record."""
