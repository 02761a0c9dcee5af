"""Runs the benchmarks and prints speeds beside the calibration loop."""

from __future__ import annotations

import argparse
from time import process_time

from benchmarks.calibration import ADDITIONS, REFERENCE_SECONDS, measure_calibration
from benchmarks.data import print_data, run_data
from benchmarks.features import print_features, run_features
from benchmarks.hosts import run_hosts
from benchmarks.live import print_live
from benchmarks.paper_sessions import print_paper_sessions, run_paper_sessions
from benchmarks.tape import run_tape
from benchmarks.tick_sessions import print_tick_sessions, run_tick_sessions
from benchmarks.ticks import print_ticks, run_ticks


def main() -> None:
    """Parse the arguments, run everything, print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="counted runs (median is told)")
    runs = parser.parse_args().runs
    before = measure_calibration(clock=process_time)
    results = run_hosts(runs)
    calibration = (before + measure_calibration(clock=process_time)) / 2
    scale = calibration / REFERENCE_SECONDS
    print(f"calibration: {ADDITIONS:,} additions in {calibration:.3f} s "
          f"(targets are stated for {REFERENCE_SECONDS} s)")  # fmt: skip
    print(f"{'fees, all gates, tape on disk (CPU time)':<52}{'bars/s':>12}{'scaled':>12}"
          f"{'target':>12}{'ratio':>8}")  # fmt: skip
    for result, target in results:
        scaled = result.rows_per_second * scale
        print(f"{result.name:<52}{result.rows_per_second:>12,.0f}{scaled:>12,.0f}{target:>12,.0f}"
              f"{scaled / target:>8.2f}   {result.events:,} events")  # fmt: skip
    print(f"\n{'tape (CPU time)':<48}{'measured':>12}{'at most':>12}")
    for line in run_tape(runs):
        print(f"{line.name:<48}{line.value:>10.2f} {line.unit}{line.limit:>10g} {line.unit}")
    print()
    print_features(run_features(runs))
    print()
    print_data(run_data(runs))
    print()
    print_ticks(run_ticks())
    print()
    print_tick_sessions(run_tick_sessions())
    print()
    print_paper_sessions(run_paper_sessions())
    print()
    print_live()


if __name__ == "__main__":
    main()
