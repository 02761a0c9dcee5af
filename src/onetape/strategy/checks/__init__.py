"""What the validator looks for in the source of a strategy, one concern a file."""
