"""The simulated venue: an ordinary venue whose matching, fees, slippage and latency are ours."""
