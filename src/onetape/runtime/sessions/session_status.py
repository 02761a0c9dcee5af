"""What `status` answers: how a paper or live session is, and why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from onetape.domain.instrument import Instrument
from onetape.domain.numbers import minor_to_float
from onetape.domain.timestamps import has_length, has_time, to_iso
from onetape.execution.oms import Order
from onetape.runtime.config import SessionConfig
from onetape.runtime.live_pipeline import OPERATOR, OUTAGE
from onetape.runtime.live_runner import LiveRunner
from onetape.runtime.realtime.action_agenda import ActionAgenda
from onetape.runtime.realtime.shell import ShellFigures
from onetape.runtime.risk_controls import BREAKERS
from onetape.runtime.sessions.realtime import RealtimeSession
from onetape.runtime.venue_desk import RECONCILIATION
from onetape.telemetry.session_news import SessionNews

_ORDERS_MAX = 100
_TROUBLES = 5

PAUSES = {
    OPERATOR: "by an operator",
    OUTAGE: "a connection is down",
    RECONCILIATION: "the venue's books are not known to be ours",
    BREAKERS: "a circuit breaker has tripped",
}
"""Why a strategy is paused, by who pauses it."""


def describe_session(
    session: RealtimeSession,
    config: SessionConfig,
    news: SessionNews,
    figures: ShellFigures,
    agenda: ActionAgenda,
    *,
    run_dir: Path,
    seconds: float,
    dropped: int,
    passed_over: dict[str, Any],
    has_begun: bool = True,
) -> dict[str, Any]:
    """The session as one JSON object; amounts in the currency of the capital.

    Args:
        session: Between two inputs.
        config: Its configuration.
        news: What was told of it.
        figures: How its shell does.
        agenda: The corporate actions that are to come.
        run_dir: Where it runs.
        seconds: How long this process has run it.
        dropped: Rows that were not taken.
        passed_over: Bars that the feed has passed over, and why.
        has_begun: Whether it has begun, or gone on, in this process; else it connects.
    """
    down = session.pipeline.down
    instruments = session.instruments
    state = "stopping" if session.pipeline.is_stopping else "running"
    if not has_begun:
        state = "connecting"
    return {
        "state": state,
        "session": session.session,
        "name": config.name,
        "mode": config.mode,
        "run_dir": str(run_dir),
        "pid": os.getpid(),
        "seconds": round(seconds, 1),
        "now": to_iso(session.now) if has_time(session.now) else None,
        "bars" if has_length(config.data.timeframe) else "ticks": session.rows,
        "heard_seconds": round(figures.heard_seconds, 1),
        "looked_seconds": None if figures.looked_seconds != figures.looked_seconds
        else round(figures.looked_seconds, 1),
        "dropped": dropped,
        "passed_over": passed_over,
        "events": session.events,
        "killed": news.kill_reason or "earlier" if session.desk.is_killed else None,
        "open_orders": session.open_orders,
        "to_send": figures.to_send,
        "orders": [
            _describe_order(each, instruments[each.instrument])
            for each in session.list_open()[:_ORDERS_MAX]
        ],
        "strategies": {
            name: _describe_strategy(session, each, news)
            for name, each in session.runners.items()
        },
        "paused": [name for name in session.runners if session.state_of(name) == "paused"],
        "down": [f"{part} {name}" for part, name in down],
        "outages": [_describe_outage(news, *each) for each in down],
        "differences": session.list_differences(),
        "actions": agenda.describe(),
        "troubles": [str(each) for each in list(news.troubles)[-_TROUBLES:]],
        "inbox": {
            "taken": figures.inputs, "waiting": figures.waiting, "deepest": figures.deepest,
            "held_back": figures.held_back,
        },
        "latency_us": {
            key: None if value != value else round(value, 1)
            for key, value in (
                ("order_p50", figures.order_p50_us), ("order_p99", figures.order_p99_us),
                ("input_p50", figures.input_p50_us), ("input_p99", figures.input_p99_us),
            )
        },
    }  # fmt: skip


def _describe_strategy(
    session: RealtimeSession, runner: LiveRunner, news: SessionNews
) -> dict[str, Any]:
    name = runner.name
    why = [PAUSES.get(each, each) for each in session.desk.pausers(name)]
    if session.desk.is_killed:
        why.insert(0, "kill switch")
    if runner.quarantined:
        why.insert(0, news.quarantined.get(name, "it failed earlier"))
    return {
        "equity": minor_to_float(session.equity(name)),
        "cash": minor_to_float(runner.ledger.cash),
        "positions": {
            str(instrument): runner.context.units[instrument] for instrument in runner.ledger.held
        },
        "state": "quarantined" if runner.quarantined else session.state_of(name),
        "why": why,
        "cold": runner.live.cold,
    }


def _describe_outage(news: SessionNews, part: str, name: str) -> dict[str, str]:
    ts, reason = news.outages.get((part, name), (0, ""))
    since = to_iso(ts) if has_time(ts) else ""
    return {"part": part, "name": name, "since": since, "reason": reason}


def _describe_order(order: Order, instrument: Instrument) -> dict[str, Any]:
    def price(ticks: int) -> float | None:
        return float(instrument.ticks_to_price(ticks)) if ticks else None

    return {
        "id": order.client_order_id,
        "strategy": order.strategy,
        "instrument": order.instrument,
        "side": order.side.name.lower(),
        "type": order.order_type.name.lower(),
        "status": order.status.name.lower(),
        "quantity": instrument.lots_to_float(order.lots),
        "filled": instrument.lots_to_float(order.filled_lots),
        "limit": price(order.limit_ticks),
        "stop": price(order.stop_ticks),
    }
