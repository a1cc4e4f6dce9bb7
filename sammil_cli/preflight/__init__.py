"""Looking before working: check, inspect, status, why, tune, estimate."""
