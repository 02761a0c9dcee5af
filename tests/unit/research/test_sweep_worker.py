"""A process that runs sets: its answers, and its ends."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.errors import FixInput, InvariantBroken
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.timeline import Timeline, load_timeline
from onetape.research.sweep_plan import SweepPlan
from onetape.research.sweep_worker import Worker, WorkerLost, WorkerSetup
from onetape.runtime.config import HistoricalClock, resolved_json
from onetape.runtime.sessions.backtest import build_terms
from onetape.runtime.sessions.python_host import PythonHost
from onetape.runtime.set_outcome import SetOutcome
from tests.support.cli_data import make_rows, write_csv
from tests.support.sweep_fakes import plan_wave

SLOW = '''\
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param


class Slow(Strategy):
    """Counts to `rounds` at every bar."""

    rounds: int = param(1, ge=0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        total = 0
        for number in range(self.rounds):
            total += number
'''


@pytest.fixture(autouse=True)
def _in_folder(in_wave: None) -> None:
    Path("slow.py").write_text(SLOW)


def load(plan: SweepPlan) -> Timeline:
    clock = plan.config.clock
    assert isinstance(clock, HistoricalClock)
    return load_timeline(
        Catalog(Path("data/catalog")), ["WAVE.SIM"], "1d", clock.ts_start, clock.ts_end
    )


def make_setup(plan: SweepPlan) -> WorkerSetup:
    return WorkerSetup(
        config=resolved_json(plan.config),
        position=0,
        version=plan.build_spec().version,
        datasets=load(plan).datasets,
    )


def plan_slow() -> SweepPlan:
    return plan_wave(
        "rounds=0,1000000000",
        overrides=("strategies.0={name: slow, path: slow.py, capital: 1000}",),
    )


def test_a_worker_gives_the_outcomes_of_a_host_in_this_process() -> None:
    plan = plan_wave("fast=2,4", "slow=8,20")
    config = plan.config
    timeline = load(plan)
    terms = build_terms(config.execution, config.seed, timeline.instruments)
    host = PythonHost(timeline, plan.build_spec(), terms, config.risk.limits())
    worker = Worker(make_setup(plan))
    try:
        batch = [plan.params(values) for values in plan.sets()]
        for got, params in zip(worker.run(batch), batch, strict=True):
            wanted = host.run(params)
            assert isinstance(got, SetOutcome)
            assert msgspec.msgpack.encode(got.summary) == msgspec.msgpack.encode(wanted.summary)
            assert got.returns.tobytes() == wanted.returns.tobytes()
            assert (got.orders, got.denied, got.quarantined) == (wanted.orders, wanted.denied, "")
            assert got.orders > 0
    finally:
        worker.close()


def test_a_set_that_the_strategy_refuses_says_why() -> None:
    plan = plan_wave("fast=2,4")
    worker = Worker(make_setup(plan))
    try:
        refused, fine = worker.run([plan.params((9,)), plan.params((2,))])
    finally:
        worker.close()
    assert refused == "SmaCross: fast 9 is not below slow 8 (choose fast < slow)"
    assert isinstance(fine, SetOutcome)


def test_a_killed_worker_is_lost_and_the_next_batch_gets_a_new_one() -> None:
    plan = plan_slow()
    worker = Worker(make_setup(plan))
    try:
        worker.run([plan.params((0,))])
        process = worker.process
        assert process is not None
        threading.Timer(0.3, os.kill, (process.pid, signal.SIGKILL)).start()
        with pytest.raises(WorkerLost, match="killed by signal 9"):
            worker.run([plan.params((1_000_000_000,))])
        (again,) = worker.run([plan.params((0,))])
        assert isinstance(again, SetOutcome)
        assert worker.process is not None
        assert worker.process.pid != process.pid
    finally:
        worker.close()


def test_closing_ends_a_worker_that_is_busy() -> None:
    plan = plan_slow()
    worker = Worker(make_setup(plan))
    worker.run([plan.params((0,))])
    lost: list[WorkerLost] = []

    def ask() -> None:
        try:
            worker.run([plan.params((1_000_000_000,))])
        except WorkerLost as error:
            lost.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.3)
    begun = time.monotonic()
    worker.close()
    thread.join(10)
    assert len(lost) == 1
    assert time.monotonic() - begun < 5
    with pytest.raises(WorkerLost):
        worker.run([plan.params((0,))])


def test_a_worker_ends_with_its_input() -> None:
    plan = plan_wave("fast=2,4")
    worker = Worker(make_setup(plan))
    worker.run([plan.params((2,))])
    process = worker.process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 0
    worker.close()


def test_a_worker_refuses_data_that_has_changed() -> None:
    plan = plan_wave("fast=2,4")
    setup = make_setup(plan)
    write_csv(Path("wave.csv"), [row.replace("100.00", "100.01") for row in make_rows()])
    arguments = ["data", "import", "wave.csv", "--instrument", "WAVE.SIM", "--timeframe", "1d"]
    shutil.rmtree("data")
    CliRunner().invoke(app, [*arguments, "--calendar", "24/7", "--tz", "UTC"])
    worker = Worker(setup)
    with pytest.raises(FixInput, match="the catalog holds other bars than the sweep began with"):
        worker.run([plan.params((2,))])
    worker.close()


def test_a_worker_refuses_a_strategy_that_has_changed() -> None:
    plan = plan_slow()
    setup = make_setup(plan)
    Path("slow.py").write_text(SLOW.replace("total += number", "total -= number"))
    worker = Worker(setup)
    with pytest.raises(FixInput, match="its source has changed since the sweep began"):
        worker.run([plan.params((0,))])
    worker.close()


def test_a_bug_in_a_worker_is_a_bug_here() -> None:
    plan = plan_wave("fast=2,4")
    worker = Worker(make_setup(plan))
    with pytest.raises(InvariantBroken, match="a worker process broke down: TypeError"):
        worker.run([3])  # pyright: ignore[reportArgumentType]
    worker.close()
