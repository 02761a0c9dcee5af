"""A paper or live session beside the same inputs at the simulated venue."""
