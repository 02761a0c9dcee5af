"""Speed, printed as ratios against a fixed calibration loop; `python -m benchmarks` runs all."""
