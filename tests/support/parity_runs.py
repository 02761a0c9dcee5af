"""A live run without a wire: the session, and a reality that fills its orders as a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from onetape.domain.events import OrderSubmitted, VenueCommand
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.numbers import E8, compute_ticks
from onetape.domain.orders import RejectCode
from onetape.domain.venue import (
    OperatorAction,
    OperatorCommand,
    ReportKind,
    VenueBalance,
    VenuePosition,
    VenueReport,
    VenueSnapshot,
)
from onetape.marketdata.timeline import Timeline
from onetape.runtime.config import SessionConfig
from onetape.runtime.live_pipeline import LiveInput
from onetape.runtime.sessions.backtest import build_spec
from onetape.runtime.sessions.live_run import open_session
from onetape.runtime.sessions.tape_choice import create_tape
from onetape.tape.sqlite_store import Durability
from tests.support.fake_feed import list_bars
from tests.support.runs import make_walks
from tests.support.timelines import MINUTE

AAPL = make_equity("AAPL.ALPACA")
HISTORY = 10
LATE_NS = 300_000_000
"""How much later than its close a bar arrives."""

Reality = Callable[[int, OrderSubmitted, int], VenueReport]
"""What becomes of an order: its number from 1, the order, the ticks of the next open."""


def make_day() -> Timeline:
    return make_walks((AAPL,), 90, seed=11, timeframe="1m", length_ns=MINUTE)


def fill_at(order: OrderSubmitted, ticks: int, lots: int = 0, fee: int = 0) -> VenueReport:
    """All of it unless told otherwise."""
    return VenueReport(
        kind=ReportKind.FILLED, client_order_id=order.client_order_id, instrument=order.instrument,
        side=order.side, execution_id=order.client_order_id, lots=lots or order.lots, ticks=ticks,
        filled_lots=lots or order.lots, fee=fee,
    )  # fmt: skip


def reject(order: OrderSubmitted, reason: str) -> VenueReport:
    return VenueReport(
        kind=ReportKind.REJECTED, client_order_id=order.client_order_id,
        instrument=order.instrument, side=order.side, code=RejectCode.UNSUPPORTED, reason=reason,
    )  # fmt: skip


def make_config(**changes: Any) -> SessionConfig:
    sections: dict[str, Any] = {
        "name": "made",
        "mode": "live",
        "clock": {"type": "live"},
        "data": {"source": "alpaca", "timeframe": "1m", "instruments": [AAPL.id]},
        "execution": {"venue": "alpaca"},
        "risk": {"max_order_quantity": 100, "max_daily_loss_pct": 50},
        "strategies": [{"name": "sma_cross", "capital": 50_000,
                        "params": {"fast": 3, "slow": 8, "quantity": 10}}],
    }  # fmt: skip
    return SessionConfig.model_validate(sections | changes)


def make_live_run(
    run_dir: Path, reality: Reality, *, inputs: dict[int, Sequence[LiveInput]] | None = None,
    ends: bool = True, config: SessionConfig | None = None,
) -> Path:  # fmt: skip
    """The tape of a session whose market orders come back a second after the bar.

    Args:
        run_dir: Where it goes; made here.
        reality: What becomes of each order.
        inputs: What else comes, right behind which slice.
        ends: Whether it is stopped, or killed.
        config: Of the session.
    """
    run_dir.mkdir(parents=True)
    config = config or make_config()
    specs = [build_spec(each) for each in config.enabled_strategies]
    tape = create_tape(run_dir, config.output, Durability.PROCESS_END)
    timeline = make_day()
    slices = [list(group) for _, group in groupby(list_bars(timeline), key=lambda b: b.ts_close)]
    begun = slices[HISTORY - 1][0].ts_close + LATE_NS
    session = open_session(config, specs, timeline.instruments, tape, None, ts_start=begun)
    session.start(begun)
    for number, bars in enumerate(slices[:HISTORY], 1):
        session.take_rows([msgspec.structs.replace(each, ts_known=begun + number, is_history=True)
                           for each in bars])  # fmt: skip
    session.take(_same_books(timeline), session.now + 1)
    orders = 0
    for number, bars in enumerate(slices[HISTORY:]):
        arrived = bars[0].ts_close + LATE_NS
        session.take_rows([msgspec.structs.replace(each, ts_known=arrived) for each in bars])
        commands: Sequence[VenueCommand] = session.outbox.take()
        for command in commands:
            if isinstance(command, OrderSubmitted) and HISTORY + number + 1 < len(slices):
                orders += 1
                ticks = compute_ticks(slices[HISTORY + number + 1][0].open, AAPL.tick_float, 0)
                session.take(reality(orders, command, ticks), session.now + 1_000_000_000)
        for given in (inputs or {}).get(number, ()):
            ts = session.now + 1
            session.take(given, ts)
    if ends:
        session.take(OperatorCommand(OperatorAction.STOP, "", ""), session.now + 1)
        session.stop("stopped by an operator", session.now + 1)
    tape.commit()
    tape.close()
    return run_dir / "tape.db"


def _same_books(timeline: Timeline) -> VenueSnapshot:
    return VenueSnapshot(
        name="alpaca", reason="start", ts_venue=0, orders=[], reports=[],
        positions=[VenuePosition(instrument=InstrumentId(each.id), lots=0)
                   for each in timeline.instruments],
        balances=[VenueBalance(currency="USD", amount=50_000 * E8)],
    )  # fmt: skip
