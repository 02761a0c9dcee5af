"""The table and the targets, from measured rows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.calibration import REFERENCE_SECONDS
from benchmarks.peers.plans import NAMES, PLANS, UNITS, WORKLOADS, Plan
from benchmarks.peers.runs import Row

Rows = Mapping[str, Row]

TIMINGS = {
    "next_open": "next open",
    "close": "same close",
    "next_trade": "next trade",
    "same_trade": "same trade",
}
COMPILED, PYTHON = "onetape compiled 1", "onetape python 1"


def later_seconds(row: Row) -> float:
    """Median of the calls after the first; the first where there is no other."""
    return statistics.median(row.seconds[1:] or row.seconds)


def alone_seconds(row: Row) -> float:
    """Median of the simulations without indicators and set-up; of the later calls where unknown."""
    return statistics.median(row.simulate_seconds or row.seconds[1:] or row.seconds)


def rate(row: Row, seconds: float) -> float:
    """Bars (or trades) a second, over all sets."""
    return row.units / seconds


def tell_ending(row: Row) -> str:
    """Whether fills and equity are those of the reference, for the timing the engine has."""
    fills, equity, ties = row.expected
    timing = TIMINGS[row.timing]
    off, apart = row.fills - fills, row.equity - equity
    if off == 0 and abs(apart) < 1e-3 * row.sets:
        return f"= {timing}"
    if abs(off) <= 2 * ties and abs(apart) < ties:
        return f"= {timing}, but {ties} ties: {off:+d} fills, {apart:+.5f}"
    return f"DIFFERS: {off:+d} fills, {apart:+.5f} from {timing}"


def make_table(workload: str, rows: Rows) -> list[str]:
    """One workload as Markdown."""
    compiled = rows.get(f"{workload} {COMPILED}")
    python = rows.get(f"{workload} {PYTHON}")
    unit = UNITS[workload]
    lines = [
        f"### {workload}: {WORKLOADS[workload]}",
        "",
        f"| engine | version | {unit} x sets | first call s | later call s | alone s | "
        f"million {unit}/s | alone | compiled is | alone | Python is | fills | equity | ending | "
        "peak MB | growth MB | loop s |",
        "| --- | --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --- | "
        "--: | --: | --: |",
    ]
    for plan in PLANS:
        row = rows.get(plan.key)
        if plan.workload == workload and row is not None:
            lines.append(_make_line(plan, row, compiled, python))
    return [*lines, ""]


def _make_line(plan: Plan, row: Row, compiled: Row | None, python: Row | None) -> str:
    name = NAMES[f"{plan.script} {plan.variant}".strip()]
    if plan.workers > 1:
        name += f", {plan.workers} workers"
    if not row.is_measured:
        return f"| {name} | {row.note} |" + " |" * 15
    later, alone = later_seconds(row), alone_seconds(row)
    sets = f" x {row.sets:,}" if row.sets > 1 else ""
    cells = [
        name,
        row.version,
        f"{row.units // row.sets:,}{sets}",
        f"{row.seconds[0]:.3f}" + (f" (cold {row.cold_seconds:.2f})" if row.cold_seconds else ""),
        f"{later:.4f}",
        f"{alone:.4f}" if row.simulate_seconds else "",
        f"{rate(row, later) / 1e6:.3f}",
        f"{rate(row, alone) / 1e6:.3f}" if row.simulate_seconds else "",
        _ratio(compiled, row, later_seconds),
        _ratio(compiled, row, alone_seconds),
        _ratio(python, row, later_seconds),
        f"{row.fills:,}",
        f"{row.equity:,.5f}",
        tell_ending(row),
        f"{row.peak_mb:,.0f}",
        f"{row.growth_mb:,.0f}",
        f"{row.calibration:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _ratio(ours: Row | None, row: Row, seconds: Callable[[Row], float]) -> str:
    if ours is None or not ours.is_measured or ours.key == row.key:
        return ""
    ratio = rate(ours, seconds(ours)) / rate(row, seconds(row))
    digits = 0 if ratio >= 100 else 1 if ratio >= 1 else 2
    return f"{ratio:,.{digits}f}x"


class Target(NamedTuple):
    """What is to be reached: `value` must be at least `least`, or at most `most`."""

    name: str
    value: Callable[[Rows], float]
    least: float | None = None
    most: float | None = None
    unit: str = ""


def _later(key: str) -> Callable[[Rows], float]:
    return lambda rows: later_seconds(rows[key])


def _first(key: str) -> Callable[[Rows], float]:
    return lambda rows: rows[key].seconds[0]


def _field(key: str, name: str) -> Callable[[Rows], float]:
    return lambda rows: getattr(rows[key], name)


def _speedup(ours: str, theirs: str, seconds: Callable[[Row], float]) -> Callable[[Rows], float]:
    """How much more work a second the first row does than the second one does in a later call."""
    return lambda rows: (
        rate(rows[ours], seconds(rows[ours])) / rate(rows[theirs], later_seconds(rows[theirs]))
    )


def _alone(key: str) -> Callable[[Rows], float]:
    return lambda rows: rate(rows[key], alone_seconds(rows[key])) / 1e6


def _scaled(key: str) -> Callable[[Rows], float]:
    """Millions a second on a machine whose calibration loop takes its reference time."""
    return lambda rows: (
        rate(rows[key], later_seconds(rows[key])) / 1e6
        * rows[key].calibration / REFERENCE_SECONDS
    )  # fmt: skip


TARGETS = (
    Target("W1 compiled, run alone, one core", _alone(f"W1 {COMPILED}"), 100, unit="million/s"),
    Target("W1 compiled, run alone, over vectorbt's later call",
           _speedup(f"W1 {COMPILED}", "W1 vectorbt 1", alone_seconds), 10, unit="x"),
    Target("W1 compiled, new host, over vectorbt's later call",
           _speedup(f"W1 {COMPILED}", "W1 vectorbt 1", later_seconds), 10, unit="x"),
    Target("W1 compiled, first compile", _field(f"W1 {COMPILED}", "cold_seconds"),
           most=15, unit="s"),
    Target("W1 compiled, cached start", _first(f"W1 {COMPILED}"),
           most=1, unit="s"),
    Target("W1 Python host, scaled to the loop's 0.5 s", _scaled(f"W1 {PYTHON}"), 1,
           unit="million/s"),
    Target("W1 Python host over backtesting.py",
           _speedup(f"W1 {PYTHON}", "W1 backtesting 1", later_seconds), 5, unit="x"),
    Target("W1 Python host over backtrader",
           _speedup(f"W1 {PYTHON}", "W1 backtrader 1", later_seconds), 20, unit="x"),
    Target("W1 Python host over NautilusTrader",
           _speedup(f"W1 {PYTHON}", "W1 nautilus 1", later_seconds), 20, unit="x"),
    Target("W2 Python host", _later(f"W2 {PYTHON}"), most=3, unit="s"),
    Target("W2 compiled, new host, over vectorbt",
           _speedup(f"W2 {COMPILED}", "W2 vectorbt 1", later_seconds), 1, unit="x"),
    Target("W2 compiled, new host", _later(f"W2 {COMPILED}"), most=0.34, unit="s"),
    Target("W3 compiled, one core, over vectorbt",
           _speedup(f"W3 {COMPILED}", "W3 vectorbt 1", later_seconds), 5, unit="x"),
    Target("W3 compiled, two cores, over vectorbt",
           _speedup("W3 onetape compiled 2", "W3 vectorbt 1", later_seconds), 10, unit="x"),
    Target("W3 compiled, one core, memory over the data",
           _field(f"W3 {COMPILED}", "growth_mb"), most=200, unit="MB"),
    Target("W3 compiled, two cores, memory over the data",
           _field("W3 onetape compiled 2", "growth_mb"), most=200, unit="MB"),
    Target("W4 compiled, run alone", _alone(f"W4 {COMPILED}"), 2, unit="million/s"),
    Target("W5 compiled, new host, over hftbacktest",
           _speedup(f"W5 {COMPILED}", "W5 hftbacktest 1", later_seconds), 1, unit="x"),
    Target("W5 compiled, run alone, over hftbacktest's later call",
           _speedup(f"W5 {COMPILED}", "W5 hftbacktest 1", alone_seconds), 1, unit="x"),
)  # fmt: skip


def make_targets(rows: Rows) -> list[str]:
    """Every target whose rows were measured, as Markdown."""
    lines = ["| what | to reach | measured | holds |", "| --- | --: | --: | --- |"]
    for target in TARGETS:
        try:
            value = target.value(rows)
        except (KeyError, ZeroDivisionError, statistics.StatisticsError):
            lines.append(f"| {target.name} | {_tell_goal(target)} | not measured | |")
            continue
        reached = value >= target.least if target.least is not None else value <= _most(target)
        holds = "yes" if reached else "**no**"
        lines.append(f"| {target.name} | {_tell_goal(target)} | {value:,.3g} {target.unit} | "
                     f"{holds} |")  # fmt: skip
    return lines


def list_differing(rows: Sequence[Row]) -> list[str]:
    """Rows whose ending nothing explains."""
    return [
        f"{row.key}: {tell_ending(row)}"
        for row in rows
        if row.is_measured and tell_ending(row).startswith("DIFFERS")
    ]


def _most(target: Target) -> float:
    assert target.most is not None
    return target.most


def _tell_goal(target: Target) -> str:
    if target.least is not None:
        return f">= {target.least:g} {target.unit}"
    return f"<= {_most(target):g} {target.unit}"
