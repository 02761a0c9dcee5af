"""The loops of the compiled host: every row of a session, for one strategy class."""

from __future__ import annotations

from typing import Any

from onetape.domain.checked import NAMES
from onetape.runtime.compiled.callbacks import bar_at, slice_at, trade_at
from onetape.runtime.compiled.compiling import compiled, entry_point
from onetape.runtime.compiled.engine import (
    begin_row,
    begin_step,
    decide,
    deliver,
    end_row,
    ends_slice,
    finish,
    start,
)
from onetape.runtime.compiled.state import Engine

globals().update(NAMES)


@compiled
def _start(engine: Engine, strategy: Any, ctx: Any) -> None:
    """What comes before the first row, once."""
    if engine.is_started:
        return
    engine.is_started = True
    start(engine)
    strategy.on_start(ctx)
    if engine.queued > 0:
        decide(engine)
    deliver(engine, engine.now)


@compiled
def _quiet_until(engine: Engine) -> int:
    """The row before which no operator's command is due; at most where it is to stop."""
    if engine.next_control >= engine.controls:
        return engine.stop_row
    ts = engine.control_ts[engine.next_control]
    row = engine.row + 1
    while row < engine.stop_row and engine.ts_known[row] < ts:
        row += 1
    return row


@compiled
def _call_while_quiet(engine: Engine, strategy: Any, ctx: Any, row: int, stop: int) -> int:
    """Have a strategy in Python hear rows until it asks for something.

    One call for all of them: leaving compiled code costs as much as many rows.

    Returns:
        The row behind the last that it heard.
    """
    engine.row = row
    engine.quiet_stop = stop
    strategy.quiet_rows(ctx)
    if engine.queued == 0:
        engine.row = stop - 1
    return engine.row + 1


@compiled
def first_of_slice(engine: Engine, row: int) -> int:
    """The first row of the slice that `row` ends."""
    while row > 0 and not ends_slice(engine, row - 1):
        row -= 1
    return row


@compiled
def _end(engine: Engine, strategy: Any, ctx: Any) -> None:
    """Behind the last row there is one thing left to do."""
    if engine.row + 1 == engine.rows:
        strategy.on_stop(ctx)
        finish(engine)


@entry_point
def run_bars(engine: Engine, strategy: Any, ctx: Any) -> None:
    """Bars from where the session stands to `stop_row`, or until the log is full enough.

    With one instrument, rows at which nothing rests and nothing is due only call the strategy.
    """
    _start(engine, strategy, ctx)
    row = engine.row + 1
    features = strategy.listens_to_bars
    slices = strategy.listens_to_slices
    while row < engine.stop_row and engine.log_count < engine.log_pause:
        stop = _quiet_until(engine) if engine.is_single and engine.active == 0 else row
        is_met = row >= stop
        if is_met:
            begin_row(engine, row)
            stop = row + 1
        elif strategy.is_python:
            row = _call_while_quiet(engine, strategy, ctx, row, stop)
            stop = row
        while row < stop:  # the one place that calls the strategy, which is inlined here
            engine.row = row
            if features:
                engine.feature_row = row
            strategy.on_bar(bar_at(ctx, row), ctx)
            if slices and ends_slice(engine, row):
                strategy.on_slice(slice_at(ctx, first_of_slice(engine, row), row + 1), ctx)
            row += 1
            if engine.queued > 0:
                break
        if engine.queued > 0 and not is_met:
            begin_step(engine, row - 1)
        end_row(engine, row - 1)
    _end(engine, strategy, ctx)


@entry_point
def run_trades(engine: Engine, strategy: Any, ctx: Any) -> None:
    """Public prints, as `run_bars` does bars."""
    _start(engine, strategy, ctx)
    row = engine.row + 1
    while row < engine.stop_row and engine.log_count < engine.log_pause:
        stop = _quiet_until(engine) if engine.is_single and engine.active == 0 else row
        is_met = row >= stop
        if is_met:
            begin_row(engine, row)
            stop = row + 1
        elif strategy.is_python:
            row = _call_while_quiet(engine, strategy, ctx, row, stop)
            stop = row
        while row < stop:
            engine.row = row
            engine.feature_row = row
            strategy.on_trade(trade_at(ctx, row), ctx)
            row += 1
            if engine.queued > 0:
                break
        if engine.queued > 0 and not is_met:
            begin_step(engine, row - 1)
        end_row(engine, row - 1)
    _end(engine, strategy, ctx)
