"""What a paper or live session made of its orders, beside the same inputs at the simulated venue."""
