"""Builds runs in memory: market data and the events that a session on it would have left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.events import (
    CapitalDeposited,
    DatasetPin,
    Event,
    OrderAccepted,
    OrderApproved,
    OrderCanceled,
    OrderCancelPending,
    OrderDenied,
    OrderFilled,
    OrderPartiallyFilled,
    OrderSubmitted,
    Payload,
    SessionStarted,
    SessionStopped,
    StrategyQuarantined,
)
from onetape.domain.instrument import Instrument, InstrumentId, make_equity
from onetape.domain.numbers import E8
from onetape.domain.orders import (
    DenialCode,
    LiquiditySide,
    OrderType,
    Side,
    TimeInForce,
)
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.portfolio.ledger import Ledger

CAPITAL = 100_000 * E8


def make_timeline(
    instruments: Sequence[Instrument],
    bars: Sequence[tuple[int, int, float]],
    *,
    timeframe: str = "1d",
    length_ns: int = 1,
) -> Timeline:
    """From (instrument position, ts_known, close) rows; open, high and low are the close."""
    series: list[tuple[Instrument, dict[str, npt.NDArray[Any]]]] = []
    for at, instrument in enumerate(instruments):
        own = sorted((ts, close) for index, ts, close in bars if index == at)
        ts = np.array([each[0] for each in own], dtype=np.int64)
        close = np.array([each[1] for each in own], dtype=np.float64)
        series.append((instrument, _columns(ts, length_ns, close, close)))
    return build_timeline(series, source="made", timeframe=timeframe)


def make_walks(
    instruments: Sequence[Instrument],
    bars: int,
    *,
    seed: int = 7,
    ts_start: str = "2010-01-04T21:00:00Z",
    timeframe: str = "1d",
    length_ns: int = NS_PER_DAY,
) -> Timeline:
    """Geometric random walks, one bar an instrument and slice; daily bars skip the weekends."""
    random = np.random.default_rng(seed)
    ts = from_iso(ts_start) + np.arange(bars, dtype=np.int64) * length_ns
    if length_ns == NS_PER_DAY:
        days = np.busday_offset(np.datetime64(ts_start[:10], "D"), np.arange(bars))
        ts = days.astype(np.int64) * NS_PER_DAY + from_iso(ts_start) % NS_PER_DAY
    step = 0.012 * (length_ns / NS_PER_DAY) ** 0.5
    series: list[tuple[Instrument, dict[str, npt.NDArray[Any]]]] = []
    for instrument in instruments:
        walk = np.cumsum(random.normal(step * step / 2, step, bars))
        close = np.round(np.exp(walk) * random.uniform(20, 200), 2)
        series.append((instrument, _columns(ts, length_ns, np.roll(close, 1), close)))
    return build_timeline(series, source="made", timeframe=timeframe)


def _columns(
    ts: npt.NDArray[np.int64],
    length_ns: int,
    open_: npt.NDArray[np.float64],
    close: npt.NDArray[np.float64],
) -> dict[str, npt.NDArray[Any]]:
    return {
        "ts_open": ts - length_ns,
        "ts_close": ts,
        "ts_known": ts,
        "session_close": ts,
        "quality": np.zeros(len(ts), dtype=np.int64),
        "open": open_,
        "high": np.maximum(open_, close),
        "low": np.minimum(open_, close),
        "close": close,
        "volume": np.full(len(ts), 1e6),
    }


class EventLog:
    """Numbers events as a session does and keeps the books that its position events need."""

    def __init__(self, instruments: Sequence[Instrument], currency: str = "USD") -> None:
        self.events: list[Event] = []
        self.ledgers: dict[str, Ledger] = {}
        self._instruments = {each.id: each for each in instruments}
        self._currency = currency
        self._orders = 0
        self._seq = 0

    def emit(self, ts: int, *payloads: Payload) -> None:
        """Put payloads on the tape at one engine time."""
        for payload in payloads:
            tag = type(payload).__struct_config__.tag
            self.events.append(
                Event(seq=self._seq, ts_event=ts, ts_ingest=ts, type=str(tag), source="onetape",
                      payload=payload, correlation_id=0, causation_id=0)
            )  # fmt: skip
            self._seq += 1

    def start(
        self, ts: int, *, config: dict[str, Any] | None = None, pins: Sequence[DatasetPin] = ()
    ) -> None:
        """The first event."""
        text = json.dumps(config or {"name": "made"}, sort_keys=True)
        self.emit(ts, SessionStarted(
            session="made-0123abcd", mode="backtest", config=text, config_hash="0123abcd" * 8,
            code_version="0.1.0", strategy_versions={}, seed=0, datasets=list(pins),
        ))  # fmt: skip

    def deposit(self, ts: int, strategy: str, amount: int = CAPITAL) -> None:
        """Capital for a strategy."""
        ledger = self.ledgers.setdefault(
            strategy, Ledger(strategy, self._currency, self._instruments.values())
        )
        ledger.deposit(amount)
        self.emit(ts, CapitalDeposited(strategy, self._currency, amount))

    def submit(self, ts: int, strategy: str, instrument: str, side: Side, lots: int) -> str:
        """A market order, approved and accepted; returns its id."""
        self._orders += 1
        identity = f"{strategy}-{self._orders}"
        name = InstrumentId(instrument)
        self.emit(
            ts,
            OrderApproved(strategy, self._orders, identity, side, lots),
            OrderSubmitted(identity, strategy, name, side, OrderType.MARKET, TimeInForce.DAY,
                           lots, 0, 0, 0),
            OrderAccepted(identity, f"v{self._orders}"),
        )  # fmt: skip
        return identity

    def fill(
        self, ts: int, identity: str, strategy: str, instrument: str, side: Side, lots: int,
        ticks: int, *, fee: int = 0, leaves: int = 0, ts_fill: int | None = None,
    ) -> OrderFilled:  # fmt: skip
        """A fill and what it made of the position."""
        name = InstrumentId(instrument)
        notional = lots * ticks * self._instruments[name].minor_per_tick_lot
        kind = OrderPartiallyFilled if leaves else OrderFilled
        fill = kind(identity, strategy, name, side, lots, ticks, notional, fee,
                    LiquiditySide.TAKER, leaves, ts if ts_fill is None else ts_fill)  # fmt: skip
        self.emit(ts, fill, self.ledgers[strategy].apply(fill))
        return fill

    def trade(
        self, ts: int, strategy: str, instrument: str, side: Side, lots: int, ticks: int,
        *, fee: int = 0, ts_fill: int | None = None,
    ) -> OrderFilled:  # fmt: skip
        """An order that fills whole in the step that submits it."""
        identity = self.submit(ts, strategy, instrument, side, lots)
        return self.fill(
            ts, identity, strategy, instrument, side, lots, ticks, fee=fee, ts_fill=ts_fill
        )

    def stop(self, ts: int, market_events: int = 0) -> None:
        """The last event of a complete tape."""
        self.emit(ts, SessionStopped(reason="end of data", market_events=market_events))


@dataclass
class MadeRun:
    """Market data and the tape of a session on it."""

    timeline: Timeline
    events: list[Event]


CONFIG: dict[str, Any] = {
    "name": "trend_and_reversal",
    "mode": "backtest",
    "clock": {"type": "historical", "start": "2010-01-01", "end": "2014-01-01", "speed": "max"},
    "data": {"source": "catalog", "path": "data/catalog", "instruments": ["AAPL.XNAS"],
             "timeframe": "1d", "versions": {}},
    "execution": {
        "venue": "simulated",
        "slippage": {"model": "volume", "base_bps": "5", "volume_factor": "0.1"},
        "latency": {"mean_ms": "10", "std_ms": "5"},
        "fees": {"model": "per_share", "rate": "0.005", "minimum": "1", "maximum_pct": None},
        "limit_fill": "touch",
        "max_volume_ratio": "0.1",
    },
    "risk": {"max_position_pct": "40", "max_leverage": "1", "max_daily_loss_pct": None},
    "strategies": [{"name": "trend", "params": {"fast": 10, "slow": 50}, "capital": "100000"}],
    "output": {"path": "runs"},
}  # fmt: skip


def make_run(
    *,
    symbols: Sequence[str] = ("AAPL.XNAS", "IBM.XNYS", "MSFT.XNAS"),
    strategies: Sequence[str] = ("trend",),
    bars: int = 1008,
    seed: int = 7,
    trade_ratio: float = 0.06,
    timeframe: str = "1d",
    length_ns: int = NS_PER_DAY,
    complete: bool = True,
    quarantined: bool = False,
) -> MadeRun:
    """A session that trades at random: partial fills, flips, shorts, cancels and denials."""
    instruments = [make_equity(symbol) for symbol in symbols]
    timeline = make_walks(instruments, bars, seed=seed, timeframe=timeframe, length_ns=length_ns)
    random = np.random.default_rng(seed + 1)
    log = EventLog(instruments)
    columns = timeline.columns
    start = int(columns["ts_open"][0])
    pins = [
        DatasetPin(instrument=each.id, timeframe=timeframe, table_version=1, rows=bars,
                   content_hash=f"{number:02x}" * 32, adjustment="vendor",
                   ts_first=int(columns["ts_known"][0]), ts_last=int(columns["ts_known"][-1]))
        for number, each in enumerate(instruments, start=160)
    ]  # fmt: skip
    log.start(start, config=CONFIG, pins=pins)
    for strategy in strategies:
        log.deposit(start, strategy)
    opens = np.round(columns["open"] * 100).astype(int).tolist()
    known = columns["ts_known"].tolist()
    begins = columns["ts_open"].tolist()
    index = timeline.instrument_index.tolist()
    draws = random.random((len(timeline), 3)).tolist()
    for row in range(len(instruments), len(timeline)):
        chance, kind, size = draws[row]
        if chance > trade_ratio:
            continue
        strategy = strategies[row % len(strategies)]
        name = instruments[index[row]].id
        ledger = log.ledgers[strategy]
        held = ledger.positions[name].lots
        lots = 1 + int(size * 0.3 * max(ledger.cash, 5_000 * E8) / (opens[row] * 1_000_000))
        before = row - len(instruments)
        if kind > 0.93:
            log.emit(known[before], OrderDenied(strategy, 0, name, DenialCode.POSITION_RATIO,
                                                0.4 + size / 10, 0.4, "of equity"))  # fmt: skip
            continue
        if held and kind < 0.6:
            side, lots = Side(-1 if held > 0 else 1), abs(held) + (lots if kind < 0.05 else 0)
        else:
            side = Side.SELL if kind > 0.85 else Side.BUY
        identity = log.submit(known[before], strategy, name, side, lots)
        fee = max(E8, lots * E8 // 200)
        part = lots // 2 if lots > 40 and size > 0.6 else lots
        price = opens[row] + side
        log.fill(known[row], identity, strategy, name, side, part, price, fee=fee,
                 leaves=lots - part, ts_fill=begins[row])  # fmt: skip
        if part < lots:
            log.emit(known[row], OrderCancelPending(identity), OrderCanceled(identity, "strategy"))
    log.events.sort(key=lambda event: event.ts_event)
    if quarantined:
        middle = known[len(known) // 2]
        log.emit(
            middle,
            StrategyQuarantined(
                strategies[-1], "on_bar", "ZeroDivisionError: division by zero", "trend.py:41"
            ),
        )
        log.events.sort(key=lambda event: event.ts_event)
    if complete:
        log.stop(known[-1], len(timeline))
    else:
        log.events = log.events[: len(log.events) * 2 // 3]
    events = [msgspec.structs.replace(event, seq=seq) for seq, event in enumerate(log.events)]
    return MadeRun(timeline, events)
