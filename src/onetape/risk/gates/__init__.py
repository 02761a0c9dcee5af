"""The gates: one pre-trade check a file."""
