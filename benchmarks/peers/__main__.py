"""Measures onetape and its peers side by side, and writes `benchmarks/RESULTS.md`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

import msgspec

from benchmarks.calibration import ADDITIONS, REFERENCE_SECONDS, measure_calibration
from benchmarks.peers.plans import PLANS, WORKLOADS
from benchmarks.peers.runs import Row, measure_plans
from benchmarks.peers.table import list_differing, make_table, make_targets

METHOD = Path(__file__).with_name("method.md")
QUIET_SPREAD = 1.3
"""How far apart the calibration loops of a quiet machine may lie."""


def main() -> int:
    """Parse the arguments, run what they choose, print the table; 1 when an ending differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="such as W1,W3")
    parser.add_argument("--engines", default="", help="such as onetape,vectorbt; all by default")
    parser.add_argument(
        "--runs", type=int, default=3, help="calls after the first (median is told)"
    )
    parser.add_argument("--markdown", type=Path, help="also write the page here")
    parser.add_argument("--raw", type=Path, help="rows as JSON lines: kept, and added to")
    given = parser.parse_args()
    scripts = {plan.script for plan in PLANS}
    workloads = _choose(given.workloads, set(WORKLOADS), parser)
    engines = _choose(given.engines, scripts, parser) or scripts
    plans = [each for each in PLANS if each.workload in workloads and each.script in engines]
    rows = _read(given.raw)
    for row in measure_plans(plans, given.runs):
        rows[row.key] = row
        print(f"{row.key}: {row.seconds or row.note}", file=sys.stderr)
        if given.raw is not None:
            given.raw.write_bytes(b"".join(msgspec.json.encode(e) + b"\n" for e in rows.values()))
    lines = [line for each in WORKLOADS for line in make_table(each, rows)]
    print("\n".join([*lines, *make_targets(rows)]))
    if given.markdown is not None:
        given.markdown.write_text(make_page(rows), encoding="utf-8")
    differing = list_differing(list(rows.values()))
    print("\n".join(differing), file=sys.stderr)
    return 1 if differing else 0


def make_page(rows: dict[str, Row]) -> str:
    """`RESULTS.md`: machine, targets, tables, method."""
    loop = measure_calibration()
    parts = [
        "# onetape beside its peers",
        "",
        "Written by `python -m benchmarks.peers --markdown benchmarks/RESULTS.md`; don't edit.",
        "",
        f"Machine: {_cpu()}, {os.cpu_count()} cores, {platform.system()}, Python "
        f"{platform.python_version()}. Calibration: {ADDITIONS:,} additions in a Python `for` take "
        f"{loop:.2f} s ({REFERENCE_SECONDS} s is what targets that say `scaled` are stated for); "
        "the column `loop s` tells what they took right before each row.",
        "",
        *_warn_of_noise(rows),
        "## Targets",
        "",
        *make_targets(rows),
        "",
        "## Tables",
        "",
        *(line for each in WORKLOADS for line in make_table(each, rows)),
        METHOD.read_text(encoding="utf-8"),
    ]
    return "\n".join(parts)


def _warn_of_noise(rows: dict[str, Row]) -> list[str]:
    """A line when something else was using the machine while it was measured."""
    loops = [row.calibration for row in rows.values() if row.is_measured]
    if not loops or max(loops) < QUIET_SPREAD * min(loops):
        return []
    return [
        f"**The machine was not quiet**: the loop took between {min(loops):.2f} and "
        f"{max(loops):.2f} s. Measure again before you trust a ratio.",
        "",
    ]


def _read(raw: Path | None) -> dict[str, Row]:
    if raw is None or not raw.exists():
        return {}
    rows = [msgspec.json.decode(line, type=Row) for line in raw.read_bytes().splitlines()]
    return {row.key: row for row in rows}


def _choose(given: str, known: set[str], parser: argparse.ArgumentParser) -> set[str]:
    chosen = {each for each in given.split(",") if each}
    if unknown := sorted(chosen - known):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return chosen


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


if __name__ == "__main__":
    sys.exit(main())
