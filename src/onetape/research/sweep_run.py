"""Runs the sets of a plan: loads the data, chooses the host, keeps what is done."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Literal

import msgspec

from onetape.domain.errors import ConfigError, OnetapeError, StrategyError, TryAgain
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.loading import check_footings, load_market_data
from onetape.marketdata.side_files import pinned_versions
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.performance_summary import choose_returns_clock, period_ends
from onetape.research.run_directory import make_run_directory, remove_run_directory
from onetape.research.sweep_frame import best_first, rank_result
from onetape.research.sweep_plan import SweepPlan
from onetape.research.sweep_pool import BatchRunner, HostRunner, ProcessRunner, in_tiles, run_sets
from onetape.research.sweep_store import BEST_SETS, SweepStore
from onetape.research.sweep_trials import SweepTrials, judge_best
from onetape.research.sweep_worker import SetHost, WorkerSetup
from onetape.runtime.config import HistoricalClock, SessionConfig, resolved_json
from onetape.runtime.session_spec import StrategySpec
from onetape.runtime.sessions.backtest import build_terms
from onetape.runtime.sessions.python_host import CompiledFirst, PythonHost

if TYPE_CHECKING:
    import polars as pl

    from onetape.research.overfitting import OverfittingVerdict

HostChoice = Literal["auto", "compiled", "python"]
CompileHost = Callable[[Timeline, StrategySpec, SessionConfig], SetHost]

FLUSH_SECONDS = 1.0
FLUSH_SETS = 4_096
"""What waits to be written is bounded by time and by number."""
_TELL_SECONDS = 0.1


class SweepProgress(msgspec.Struct, frozen=True):
    """How far a sweep is. `best` is the metric of the best set that ran; NaN when none has one."""

    done: int
    total: int
    best: float


class SweepWatch(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told what happens while a sweep runs; by default notes are logged as warnings."""

    on_progress: Callable[[SweepProgress], None] = lambda _: None
    on_note: Callable[[str], None] = logging.getLogger("onetape.sweep").warning


class SweepInterrupted(KeyboardInterrupt):
    """The sweep was interrupted, and what is done is kept in `directory`."""

    def __init__(self, directory: Path, done: int, total: int) -> None:
        super().__init__(f"interrupted; {done:,} of {total:,} sets are kept in {directory}")
        self.directory = directory


class SweepResult(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A finished sweep.

    Attributes:
        directory: Where it lies.
        plan: What was run.
        host: What ran it, `compiled` or `python`; empty when everything had been done before.
        sets: How many sets it has.
        ran: How many of them ran now.
        quarantined: In how many the strategy raised.
        failed: How many could not be run.
        best: The best ten, best first: rows of sets.parquet.
        verdict: How much of the best one is luck.
        seconds: Wall time of running sets.
    """

    directory: Path
    plan: SweepPlan
    host: str
    sets: int
    ran: int
    quarantined: int
    failed: int
    best: pl.DataFrame
    verdict: OverfittingVerdict
    seconds: float


def build_compiled_host(timeline: Timeline, spec: StrategySpec, config: SessionConfig) -> SetHost:
    """The compiled host, and the Python host for what it gives up.

    Raises:
        NotCompilable: A callback is outside of the compilable subset.
    """
    from onetape.runtime.compiled.host import CompiledHost

    terms = build_terms(config.execution, config.seed, timeline.instruments)
    limits = config.risk.limits()
    host = CompiledHost(timeline, spec, terms, limits)
    return CompiledFirst(host.run, partial(PythonHost, timeline, spec, terms, limits))


def run_sweep(
    plan: SweepPlan,
    *,
    now: datetime,
    workers: int | None = None,
    host: HostChoice = "auto",
    resume: Path | None = None,
    watch: SweepWatch | None = None,
    compile_host: CompileHost = build_compiled_host,
) -> SweepResult:
    """Run a sweep. Its tables do not depend on workers, host or interruptions.

    Args:
        plan: What to run.
        now: When it is begun, for the name of its directory and the trial ledger.
        workers: How many threads (compiled host) or processes (Python host); None: one a core.
        host: `auto` is the compiled host where the strategy can be compiled.
        resume: Directory of the same sweep, interrupted.
        watch: Who is told what happens.
        compile_host: What makes the compiled host.

    Raises:
        ConfigError: The directory to resume holds another sweep.
        DataError: The catalog lacks what is asked for.
        StrategyError: Not compilable where that is asked for, or no set could be run.
        TryAgain: The disk is full, or workers are lost; what is done is kept.
        SweepInterrupted: By Ctrl-C; what is done is kept.
    """
    watch = watch or SweepWatch()
    workers = workers or _count_cores()
    timeline = _load(plan.config)
    description = plan.describe(timeline.pins)
    periods = _count_periods(timeline)

    def choose() -> tuple[str, BatchRunner]:
        return _choose_runner(plan, timeline, host, workers, watch, compile_host)

    chosen: tuple[str, BatchRunner | None] = ("", None)
    if resume is None:
        chosen = choose()
        directory = make_run_directory(
            Path(plan.config.output.path), f"sweep-{plan.config.name}", plan.hash, now
        )
        store = SweepStore(directory, plan, description | {"host": chosen[0]}, periods)
        try:
            store.begin(_pinned_json(plan.config, timeline))
        except OnetapeError:
            remove_run_directory(directory)
            raise
    else:
        store = SweepStore(resume, plan, description, periods)
        store.resume()
        if store.done < store.total:
            chosen = choose()
    trials = SweepTrials(plan, timeline.pins, store.directory.name, now, watch.on_note)
    before, seconds = store.done, 0.0
    try:
        if chosen[1] is not None:
            seconds = _run(plan, store, trials, chosen[1], workers, watch)
        store.finish()
        return _measure(plan, store, trials, chosen[0], store.done - before, seconds)
    except KeyboardInterrupt:
        if store.done == 0 and resume is None:
            shutil.rmtree(store.directory)
            raise
        raise SweepInterrupted(store.directory, store.done, store.total) from None
    except TryAgain as error:
        remedy = f"{error.remedy}, then go on with --resume {store.directory}"
        raise TryAgain(error.what, where=error.where, remedy=remedy) from error
    finally:
        trials.close()


def _load(config: SessionConfig) -> Timeline:
    clock = config.clock
    if not isinstance(clock, HistoricalClock):
        raise ConfigError("a sweep needs a historical clock", where="clock.type")
    timeline = load_market_data(
        Catalog(Path(config.data.path)), config.data.instruments, config.data.timeframe,
        clock.ts_start, clock.ts_end, config.data.versions, config.data.files,
        config.data.reading,
    )  # fmt: skip
    check_footings(timeline, config.data.files)
    return timeline


def _count_periods(timeline: Timeline) -> int:
    """How many returns a set has."""
    clock = choose_returns_clock(timeline.instruments, timeline.timeframe)
    return len(period_ends(timeline.columns["ts_known"][timeline.slice_end], clock))


def _pinned_json(config: SessionConfig, timeline: Timeline) -> str:
    """The configuration with the versions of the data that the sweep reads."""
    pins = [each for each in timeline.pins if each not in timeline.action_pins]
    versions = {str(pin.instrument): pin.table_version for pin in pins}
    versions |= pinned_versions(timeline.action_pins, config.data.files)
    data = config.data.model_copy(update={"versions": versions})
    return resolved_json(config.model_copy(update={"data": data}))


def _choose_runner(
    plan: SweepPlan,
    timeline: Timeline,
    host: HostChoice,
    workers: int,
    watch: SweepWatch,
    compile_host: CompileHost,
) -> tuple[str, BatchRunner]:
    """The name of the host and what runs batches in it."""
    spec = plan.build_spec()
    if host != "python":
        try:
            return "compiled", HostRunner(compile_host(timeline, spec, plan.config))
        except (ConfigError, StrategyError) as error:
            if host == "compiled":
                raise
            watch.on_note(f"{error}; the sweep goes on in the Python host, in {workers} processes")
    setup = WorkerSetup(
        config=resolved_json(plan.config),
        position=plan.position,
        version=spec.version,
        datasets=timeline.datasets,
        action_pins=timeline.action_pins,
        universe=timeline.universe.pin if timeline.universe is not None else None,
    )
    return "python", ProcessRunner(setup, workers, watch.on_note)


def _run(
    plan: SweepPlan,
    store: SweepStore,
    trials: SweepTrials,
    runner: BatchRunner,
    workers: int,
    watch: SweepWatch,
) -> float:
    """Run what is missing; whatever ends it, what is done is written. Returns the wall time."""
    best: float | None = None

    def tell() -> None:
        watch.on_progress(SweepProgress(store.done, store.total, plan.metric.value(best)))

    begun = told = monotonic()
    waiting, flush_at = 0, 0.0  # the first result is written at once
    tell()
    try:
        with closing(run_sets(runner, in_tiles(store.missing()), plan.params, workers)) as results:
            for each, result in results:
                store.add(each, result)
                trials.add(each, result)
                rank = rank_result(result, plan.metric)
                if rank is not None and (best is None or rank > best):
                    best = rank
                now = monotonic()
                if now - told > _TELL_SECONDS:
                    told = now
                    tell()
                waiting += 1
                if now > flush_at or waiting == FLUSH_SETS:
                    waiting = 0
                    trials.flush()
                    store.flush()
                    flush_at = monotonic() + FLUSH_SECONDS
        tell()
    finally:
        trials.flush()
        store.flush()
    return monotonic() - begun


def _measure(
    plan: SweepPlan, store: SweepStore, trials: SweepTrials, host: str, ran: int, seconds: float
) -> SweepResult:
    import polars as pl

    sets = pl.scan_parquet(store.sets_path)
    best = best_first(sets, plan.metric, BEST_SETS).collect(engine="streaming")
    counts = sets.select(
        quarantined=(pl.col("quarantined") != "").sum(), failed=(pl.col("failed") != "").sum()
    ).collect()
    failed = int(counts["failed"][0])
    if failed == store.total:
        raise StrategyError(
            f"none of the {failed:,} sets could be run: {best['failed'][0]}",
            where=str(store.directory),
        )
    return SweepResult(
        directory=store.directory,
        plan=plan,
        host=host,
        sets=store.total,
        ran=ran,
        quarantined=int(counts["quarantined"][0]),
        failed=failed,
        best=best,
        verdict=judge_best(store, best, trials.tally()),
        seconds=seconds,
    )


def _count_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
