"""A backtest that was killed goes on, and ends as if nothing had happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from onetape.domain.errors import ConfigError, DataError, StrategyError, TapeDamaged
from onetape.domain.events import StrategyQuarantined
from onetape.runtime.config import HistoricalClock, SessionConfig
from onetape.runtime.pacing import Pacer
from onetape.runtime.run_monitor import RunMonitor, save_measurements
from onetape.runtime.sessions.backtest import OnProgress, Snapshots
from onetape.runtime.sessions.backtest_run import BacktestResult, run_backtest
from onetape.runtime.sessions.recorded import (
    InputKind,
    RecordedSession,
    find_catalog,
    load_recorded,
    read_controls,
)
from onetape.runtime.sessions.session_state import decode_state
from onetape.runtime.sessions.tape_choice import remove_empty_tape, reopen_tape
from onetape.tape.continued import ContinuedTape
from onetape.tape.opening import open_tape, tape_path
from onetape.tape.reader import BlockReader


def resume_backtest(
    run_dir: Path,
    catalog: Path | None = None,
    on_progress: OnProgress | None = None,
    is_stop_asked: Callable[[], bool] = lambda: False,
) -> BacktestResult:
    """Go on with the run of `run_dir` from its newest snapshot; a complete one is only read.

    What the tape holds behind the snapshot runs once more and must come out the same, byte for
    byte, before anything is added. A run that was killed before its first event begins anew. What
    is measured is the part from the snapshot on.

    Args:
        run_dir: The run's directory.
        catalog: Where the catalog is now; None: where config.json of the run says.
        on_progress: Told after each block.
        is_stop_asked: Asked after each block; a yes keeps the state and interrupts.

    Raises:
        FixInput: There is no run, its tape is damaged, or its data, strategies or onetape are not
            those that it began with. Nothing is written then.
        TryAgain: Another process writes it; the disk is full.
        CallAPerson: What runs now departs from the tape.
        KeyboardInterrupt: `is_stop_asked` said yes.
    """
    begun = time.perf_counter()
    file = tape_path(run_dir)
    config = read_config(run_dir)
    if remove_empty_tape(file):
        return run_backtest(config, run_dir, on_progress, is_stop_asked)
    monitor = RunMonitor()
    recorded = _go_on(
        file, config, catalog or find_catalog(run_dir), monitor, on_progress, is_stop_asked
    )
    measurements = monitor.finish()
    if measurements is not None:
        save_measurements(run_dir, measurements)
    reader = open_tape(file)
    try:
        events = [each.payload for each in reader.events()]
        return BacktestResult(
            run_dir=run_dir,
            session=recorded.header.session,
            digest=reader.digest,
            market_events=len(recorded.timeline),
            timeline=recorded.timeline,
            quarantined=tuple(each for each in events if isinstance(each, StrategyQuarantined)),
            seconds=time.perf_counter() - begun,
            measurements=measurements,
        )
    finally:
        reader.close()


def read_config(run_dir: Path) -> SessionConfig:
    """The configuration that the run began with."""
    path = run_dir / "config.json"
    try:
        return SessionConfig.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            "there is no run to go on with here",
            where=str(run_dir),
            remedy="give the directory of a run, or start it again",
        ) from None
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise ConfigError(
            f"{error.errors()[0]['msg']}: {place}",
            where=str(path),
            remedy="restore the file, or run the session again",
        ) from error


def _go_on(
    file: Path,
    config: SessionConfig,
    catalog: Path,
    monitor: RunMonitor,
    on_progress: OnProgress | None,
    is_stop_asked: Callable[[], bool],
) -> RecordedSession:
    """Run the session of a tape from its newest snapshot to its end, if it has not come to it."""
    reader = open_tape(file)
    try:
        audit = reader.audit()
        if audit.damage is not None:
            raise TapeDamaged(
                f"the tape is damaged: {audit.damage}",
                where=str(file),
                remedy="restore it from a copy, or run the session again",
            )
        recorded = _load(reader, catalog, file)
        if audit.complete:
            return recorded
        snapshot = reader.newest_snapshot()
        state = decode_state(snapshot.state) if snapshot is not None else None
        store = reopen_tape(file, audit)
        try:
            rows, events = (snapshot.rows, snapshot.events) if snapshot is not None else (0, 0)
            tape = ContinuedTape(
                store, reader.encoded_records(rows + events), reader.snapshots(rows + 1)
            )
            controls = read_controls(reader.encoded_records(rows + events))
            session = recorded.open(tape)
            session.measure(monitor)
            if state is not None:
                session.restore(state)
            snapshots = Snapshots(
                keeper=tape, events=config.output.snapshot_events, is_stop_asked=is_stop_asked
            )
            speed = config.clock.speed if isinstance(config.clock, HistoricalClock) else "max"
            with recorded.watching():
                session.run(on_progress, Pacer(speed), controls, snapshots)
        finally:
            reader.close()  # first: the tape becomes one file when nobody else has it open
            store.close()
    finally:
        reader.close()
    return recorded


def _load(reader: BlockReader, catalog: Path, file: Path) -> RecordedSession:
    """The session of the tape, if all that it began with is still there."""
    recorded, changes = load_recorded(reader.header, catalog, file.parent)
    if recorded is None or changes:
        kind = DataError if changes[0].kind is InputKind.DATA else StrategyError
        raise kind(f"it can't go on: {changes[0].what}", where=str(file),
                   remedy="bring back what it began with, or run it again")  # fmt: skip
    return recorded
