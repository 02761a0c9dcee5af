"""A configured backtest, from its configuration to the files of its run."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import msgspec

import onetape
from onetape.domain.errors import ConfigError
from onetape.domain.events import StrategyQuarantined
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.loading import check_footings, load_market_data
from onetape.marketdata.timeline import Timeline
from onetape.runtime.config import (
    HistoricalClock,
    SessionConfig,
    config_hash,
    decision_json,
    resolved_json,
)
from onetape.runtime.run_files import write_whole
from onetape.runtime.run_monitor import Measurements, save_measurements
from onetape.runtime.session_spec import OnProgress, SessionIdentity, StrategySpec
from onetape.runtime.sessions import run_features
from onetape.runtime.sessions.backtest import build_spec, build_terms
from onetape.runtime.sessions.host_runner import HostRunner
from onetape.runtime.sessions.run_features import archive_features
from onetape.runtime.sessions.tape_choice import create_tape


class BacktestResult(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a backtest leaves behind. `digest` is the tape's, `seconds` wall time of the run.

    `measurements` are None when nothing had to run any more.
    """

    run_dir: Path
    session: str
    digest: str
    market_events: int
    timeline: Timeline
    quarantined: tuple[StrategyQuarantined, ...]
    seconds: float
    measurements: Measurements | None = None


def run_backtest(
    config: SessionConfig,
    run_dir: Path,
    on_progress: OnProgress | None = None,
    is_stop_asked: Callable[[], bool] = lambda: False,
) -> BacktestResult:
    """Run a configured backtest; writes config.json, versions.json and tape.db into `run_dir`.

    Where `output.tape` names a server it is tape.json instead of tape.db. The tape keeps a snapshot
    every `output.snapshot_events` events, from which `resume_backtest` goes on after a kill. At the
    end performance.json and performance.js tell what it took.

    Raises:
        ConfigError: The configuration does not fit the instruments.
        DataError: The catalog lacks what is asked for.
        StrategyError: A strategy can't be loaded, or refuses its params.
        KeyboardInterrupt: `is_stop_asked`, asked after each block of rows, said yes.
    """
    begun = time.perf_counter()
    clock = config.clock
    if not isinstance(clock, HistoricalClock):
        raise ConfigError("a backtest needs a historical clock", where="clock.type")
    specs = [build_spec(each) for each in config.enabled_strategies]
    catalog = Catalog(Path(config.data.path))
    timeline = load_market_data(
        catalog, config.data.instruments, config.data.timeframe, clock.ts_start, clock.ts_end,
        config.data.versions, config.data.files, config.data.reading,
    )  # fmt: skip
    check_footings(timeline, config.data.files)
    terms = build_terms(config.execution, config.seed, timeline.instruments)
    if terms.has_legs:
        timeline = timeline.with_legs()
    if terms.marks_closing_side:
        timeline = timeline.at_closing_side()
    archive = {each.name: archive_features(each.strategy) for each in specs}
    identity = SessionIdentity(
        config=decision_json(config), config_hash=config_hash(config), seed=config.seed,
        feature_versions={
            name: {feature: each.version for feature, each in features.items()}
            for name, features in archive.items()
        },
    )  # fmt: skip
    write_whole(run_dir / "versions.json", encode_versions(specs))
    write_whole(run_dir / run_features.FILE, run_features.encode_archive(archive))
    write_whole(run_dir / "config.json", resolved_json(config).encode())
    tape = create_tape(run_dir, config.output)
    try:
        runner = HostRunner(
            config, timeline, specs, terms, identity, tape, on_progress, is_stop_asked
        )
        ran = runner.run()
    finally:
        tape.close()
    if ran.measurements is not None:
        save_measurements(run_dir, ran.measurements)
    return BacktestResult(
        run_dir=run_dir,
        session=ran.session,
        digest=tape.digest,
        market_events=len(timeline),
        timeline=timeline,
        quarantined=ran.quarantined,
        seconds=time.perf_counter() - begun,
        measurements=ran.measurements,
    )


def encode_versions(specs: Sequence[StrategySpec]) -> bytes:
    """What the run was made with, as JSON: code, strategies, interpreter, libraries."""
    libraries = ("deltalake", "msgspec", "numba", "numpy", "polars")
    return msgspec.json.format(
        msgspec.json.encode(
            {
                "onetape": onetape.__version__,
                "python": platform.python_version(),
                "platform": platform.platform(),
                "strategies": {spec.name: spec.version for spec in specs},
                "libraries": {name: metadata.version(name) for name in libraries},
            }
        )
    )
