"""Measuring: each plan in a process of its own, with the calibration loop right before it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.calibration import measure_calibration
from benchmarks.peers.data import Columns, write_market
from benchmarks.peers.environments import PROJECT, CannotInstall, provide_python
from benchmarks.peers.plans import MARKETS, Plan
from benchmarks.peers.reference import Books, expect

TIMEOUT_SECONDS = 1_800
ENGINES = Path(__file__).parent / "engines"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one plan gave; the fields of an engine that gave nothing are empty, and `note` says why.

    Attributes:
        seconds: The first call and those after it.
        simulate_seconds: The same without indicators and set-up, where an engine can tell.
        cold_seconds: First call with an empty compilation cache.
        expected: Fills and equity of the reference, and on how many bars averages are equal.
        calibration: Seconds of the calibration loop right before.
    """

    key: str
    version: str = ""
    python: str = ""
    rows: int = 0
    sets: int = 1
    workers: int = 1
    units: int = 0
    seconds: list[float] = []
    simulate_seconds: list[float] = []
    cold_seconds: float = 0.0
    fills: int = 0
    equity: float = 0.0
    timing: str = ""
    expected: tuple[int, float, int] = (0, 0.0, 0)
    peak_mb: float = 0.0
    growth_mb: float = 0.0
    prepared_seconds: float = 0.0
    calibration: float = 0.0
    note: str = ""

    @property
    def is_measured(self) -> bool:
        """Whether there are numbers."""
        return bool(self.seconds)


def measure_plans(plans: list[Plan], runs: int) -> Iterator[Row]:
    """Measure plans in turn; `runs` is how many calls follow the first one."""
    with tempfile.TemporaryDirectory() as folder:
        references: dict[tuple[str, str, int, int], tuple[Books, int]] = {}
        for plan in plans:
            if plan.why_not:
                yield Row(key=plan.key, note=plan.why_not)
                continue
            try:
                python = _python_of(plan)
            except CannotInstall as error:
                yield Row(key=plan.key, note=f"can't be installed: {error}")
                continue
            market = write_market(MARKETS[plan.workload], Path(folder))
            row = _measure(plan, python, market, runs)
            if row.is_measured:
                asked = (plan.workload, row.timing, row.rows, row.sets)
                if asked not in references:
                    references[asked] = expect(*asked[:2], _load(market, row.rows), row.sets)
                books, ties = references[asked]
                row = msgspec.structs.replace(row, expected=(books.fills, books.equity, ties))
            yield row


def _python_of(plan: Plan) -> Path:
    return Path(sys.executable) if plan.script == "onetape" else provide_python(plan.script)


def _measure(plan: Plan, python: Path, market: Path, runs: int) -> Row:
    cold = 0.0
    with tempfile.TemporaryDirectory() as cache:
        kept = {"NUMBA_CACHE_DIR": cache} if plan.cold else {}
        if plan.cold:
            first = _call(plan._replace(sets=1), python, market, 1, kept)
            cold = 0.0 if isinstance(first, str) else first["seconds"][0]
        calibration = measure_calibration(1)
        result = _call(plan, python, market, plan.calls or runs + 1, kept)
    if isinstance(result, str):
        return Row(key=plan.key, note=result)
    facts = {name: result[name] for name in Row.__struct_fields__ if name in result}
    return msgspec.convert(
        facts | {"key": plan.key, "calibration": calibration, "cold_seconds": cold}, Row
    )


def _call(
    plan: Plan, python: Path, market: Path, calls: int, environment: dict[str, str]
) -> dict[str, Any] | str:
    """What a script printed, or why it printed nothing."""
    command = [
        str(python), str(ENGINES / f"{plan.script}_engine.py"), "--workload", plan.workload,
        "--market", str(market), "--variant", plan.variant, "--rows", str(plan.rows), "--sets",
        str(plan.sets), "--workers", str(plan.workers), "--calls", str(calls),
    ]  # fmt: skip
    inherited = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    paths = {"PYTHONPATH": str(PROJECT)} if plan.script == "onetape" else {}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False,
            env=inherited | paths | environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"took over {TIMEOUT_SECONDS} s"
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        errors = [line for line in done.stderr.splitlines() if line.strip()]
        return f"failed: {errors[-1] if errors else f'exit code {done.returncode}'}"
    return json.loads(lines[-1])


def _load(market: Path, rows: int) -> Columns:
    return {path.stem: np.load(path)[:rows] for path in sorted(market.glob("*.npy"))}
