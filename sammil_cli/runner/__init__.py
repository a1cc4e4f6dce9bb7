"""Many slides: processes that cost one slide when they die, executors, devices, the result store."""
