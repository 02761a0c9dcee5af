"""How orders were executed: shortfall against the decision, slippage, fill rate, time to fill.

Reports, not gates: they look back and may use prices that the strategy could not know. Costs are
positive where they hurt us and exact in minor units, except those against an average price. Prices
that an order is compared with:

| price    | is                                                                                  |
| -------- | ----------------------------------------------------------------------------------- |
| decision | the newest close that was known when the order was decided                          |
| arrival  | the first price after the order's arrival at the venue: the open of the first bar   |
|          | that opens then or later, or the close of the bar that it arrived in                |
| VWAP     | typical price `(high + low + close) / 3` of the bars from the arrival to the one of |
|          | the last fill, weighted by their volume                                             |
| end      | the newest close that was known when the order ended, or the last of the run        |

Decision, arrival and end are brought to the nearest tick, halves up, as marks are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain, repeat
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.events import OrderFilled
from onetape.domain.instrument import InstrumentId
from onetape.domain.notional import compute_notional
from onetape.domain.numbers import E8, INT64_MAX, minor_to_decimal
from onetape.domain.orders import OrderType, Side
from onetape.portfolio.equity_curve import Ints, Marks, SlicedTimeline, mark_ticks
from onetape.portfolio.performance import NAN, Floats


class OrderRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a tape says about an order. Times are engine times, ns UTC.

    `lots` is the whole quantity as it was in the end (an order sized at its fill: what it was sized
    to, 0 if never); `ts_arrival` None if the venue never took it, `ts_end` None while it is open.
    """

    client_order_id: str
    strategy: str
    instrument: InstrumentId
    side: Side
    order_type: OrderType
    lots: int
    ts_decision: int
    ts_arrival: int | None
    ts_end: int | None
    fills: tuple[tuple[int, OrderFilled], ...] = ()


class OrderExecution(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An order measured. Money in minor units unless it is float; None or NaN: there is none.

    The cost of not having traded everything at the decision price at once is split as by Perold
    (1988), The Implementation Shortfall: Paper versus Reality, Journal of Portfolio Management
    14(3); the first part is named after Wagner & Edwards (1993), Best Execution:

    - `delay`: filled lots times arrival less decision,
    - `execution`: filled lots times their prices less arrival,
    - `opportunity`: unfilled lots times end less decision,
    - `fees`.

    Signs are those of the side, so each is a loss against the paper portfolio. They add up exactly
    to `shortfall`, the gain on paper less the gain that was made.
    """

    client_order_id: str
    strategy: str
    instrument: InstrumentId
    side: Side
    order_type: OrderType
    ts_decision: int
    ts_arrival: int | None
    ts_first_fill: int | None
    ts_last_fill: int | None
    lots: int
    filled_lots: int
    filled_notional: int
    decision_ticks: int
    arrival_ticks: int | None
    end_ticks: int
    paper_notional: int
    decision_value: int
    arrival_value: int
    delay: int
    execution: int
    opportunity: int
    fees: int
    vwap: float
    vwap_value: float
    vwap_slippage: float

    @property
    def shortfall(self) -> int:
        """All costs together, minor units."""
        return self.delay + self.execution + self.opportunity + self.fees

    @property
    def decision_slippage(self) -> int:
        """What the fills cost more than the decision price, minor units, without fees."""
        return self.delay + self.execution

    @property
    def is_whole(self) -> bool:
        """Whether all of it was filled."""
        return 0 < self.lots == self.filled_lots


class ExecutionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Orders together. Money is exact in currency (Decimal), against the VWAP float.

    `fill_ratio` is what was filled of what was wanted, both at decision prices. `*_bps` are of the
    value at the price compared with; `shortfall_bps` of what was wanted. Times to fill run from the
    decision to the first fill, over orders that have one.
    """

    orders: int
    filled: int
    partly_filled: int
    unfilled: int
    fill_ratio: float
    mean_time_to_fill_ns: int | None
    median_time_to_fill_ns: int | None
    paper_notional: Decimal
    decision_slippage: Decimal
    decision_slippage_bps: float
    arrival_slippage: Decimal
    arrival_slippage_bps: float
    vwap_slippage: float
    vwap_slippage_bps: float
    delay: Decimal
    execution: Decimal
    opportunity: Decimal
    fees: Decimal
    shortfall: Decimal
    shortfall_bps: float


def measure_executions(
    records: Sequence[OrderRecord], marks: Marks, timeline: SlicedTimeline
) -> list[OrderExecution]:
    """Measure each order against the market data that its session ran on, in the same sequence.

    Raises:
        DataError: The timeline does not hold an instrument, or a price that no tick count can hold.
    """
    groups: dict[InstrumentId, list[int]] = {}
    for at, record in enumerate(records):
        groups.setdefault(record.instrument, []).append(at)
    measured: dict[int, OrderExecution] = {}
    for instrument, places in groups.items():
        prices = _Prices(marks, timeline, instrument)
        own = [records[at] for at in places]
        for at, record, found in zip(places, own, prices.look_up(own), strict=True):
            measured[at] = _measure(record, found, prices)
    return [measured[at] for at in range(len(records))]


def summarize_executions(executions: Iterable[OrderExecution]) -> ExecutionSummary:
    """The figures of many orders. NaN where nothing was wanted, filled or traded."""
    every = list(executions)
    done = [each for each in every if each.filled_lots]
    waits = sorted(each.ts_first_fill - each.ts_decision for each in done
                   if each.ts_first_fill is not None)  # fmt: skip
    middle = len(waits) // 2
    delay = sum(each.delay for each in every)
    execution = sum(each.execution for each in every)
    opportunity = sum(each.opportunity for each in every)
    fees = sum(each.fees for each in every)
    paper = sum(each.paper_notional for each in every)
    decision_value = sum(each.decision_value for each in done)
    by_volume = [each for each in done if each.vwap_value == each.vwap_value]
    vwap_slippage = _add(each.vwap_slippage for each in by_volume)
    shortfall = delay + execution + opportunity + fees
    return ExecutionSummary(
        orders=len(every),
        filled=sum(each.is_whole for each in every),
        partly_filled=sum(not each.is_whole for each in done),
        unfilled=len(every) - len(done),
        fill_ratio=decision_value / paper if paper else NAN,
        mean_time_to_fill_ns=sum(waits) // len(waits) if waits else None,
        median_time_to_fill_ns=(waits[middle] + waits[~middle]) // 2 if waits else None,
        paper_notional=minor_to_decimal(paper),
        decision_slippage=minor_to_decimal(delay + execution),
        decision_slippage_bps=_bps(delay + execution, decision_value),
        arrival_slippage=minor_to_decimal(execution),
        arrival_slippage_bps=_bps(execution, sum(each.arrival_value for each in done)),
        vwap_slippage=vwap_slippage,
        vwap_slippage_bps=_bps(vwap_slippage, _add(each.vwap_value for each in by_volume)),
        delay=minor_to_decimal(delay),
        execution=minor_to_decimal(execution),
        opportunity=minor_to_decimal(opportunity),
        fees=minor_to_decimal(fees),
        shortfall=minor_to_decimal(shortfall),
        shortfall_bps=_bps(shortfall, paper),
    )


class _Found(NamedTuple):
    """Decision, arrival and end in ticks, where there are, and the average price or NaN."""

    decision: int | None
    arrival: int | None
    end: int | None
    vwap: float


class _Prices:
    """The bars of one instrument as arrays, up to where the run went; those with whole prices."""

    def __init__(self, marks: Marks, timeline: SlicedTimeline, instrument: InstrumentId) -> None:
        terms = next((each for each in timeline.tradable if each.id == instrument), None)
        if terms is None:
            raise DataError(
                f"the tape has an order of {instrument}, which the timeline does not hold",
                remedy="use the market data that the session ran on",
            )
        columns = timeline.columns
        rows = timeline.rows_of(instrument)
        rows = rows[: int(np.searchsorted(rows, marks.rows))]
        prices = np.stack([columns[name][rows] for name in ("open", "high", "low", "close")])
        is_whole = np.isfinite(prices).all(axis=0)  # a session may have met others without harm
        rows = rows[is_whole]
        opens, highs, lows, closes = prices[:, is_whole]
        self.terms = terms
        self.tick_size = terms.tick_float
        self.ts_known: Ints = columns["ts_known"][rows]
        self.ts_open: Ints = columns["ts_open"][rows]
        self.ts_close: Ints = columns["ts_close"][rows]
        self.closes: Ints = mark_ticks(closes, terms)
        self.opens: Ints = mark_ticks(opens, terms)
        volume: Floats = columns["volume"][rows]
        typical = (highs + lows + closes) / 3.0
        traded = np.where(np.isfinite(volume) & (volume > 0.0), volume, 0.0)
        self.volume_before = _running(traded)
        told: Floats | None = columns["turnover"][rows] if "turnover" in columns else None
        self.traded_before = _running(traded * typical if told is None else told)

    def value(self, lots: int, ticks: int) -> int:
        """Notional of `lots` at a price, in minor units; 0 where there was none."""
        terms = self.terms
        if terms.is_inverse and not ticks:
            return 0
        return compute_notional(lots, ticks, terms.minor_per_tick_lot, terms.inverse_factor)

    def float_value(self, lots: int, ticks: float) -> float:
        """The same at a price between ticks, in currency."""
        if self.terms.is_inverse:
            return lots * self.terms.inverse_factor / ticks / E8
        return lots * ticks * self.terms.minor_per_tick_lot / E8

    def look_up(self, records: Sequence[OrderRecord]) -> Iterator[_Found]:
        """The prices that each order is compared with, all orders at once."""
        count = len(self.closes)
        if not count:
            return repeat(_Found(None, None, None, NAN), len(records))
        decided = np.searchsorted(self.ts_known, [each.ts_decision for each in records], "right")
        ended = np.searchsorted(self.ts_known, _times(each.ts_end for each in records), "right")
        arrivals = _times(each.ts_arrival for each in records)
        steps = [
            np.searchsorted(self.ts_known, _times(_step(each, at) for each in records), "right") - 1
            for at in (0, -1)
        ]
        is_filled = np.array([bool(each.fills) for each in records])
        first = np.searchsorted(self.ts_close, arrivals, "right")
        first = np.where(is_filled, np.minimum(first, steps[0]), first)
        has_arrival = (first < count) & (arrivals < INT64_MAX)
        bar = np.minimum(first, count - 1)
        arrived = np.where(self.ts_open[bar] >= arrivals, self.opens[bar], self.closes[bar])
        last = np.minimum(steps[1], count - 1)
        volume = self.volume_before[last + 1] - self.volume_before[bar]
        traded = self.traded_before[last + 1] - self.traded_before[bar]
        vwap = np.full(len(records), NAN)
        np.divide(traded, volume, out=vwap, where=has_arrival & is_filled & (volume > 0.0))
        return map(
            _Found,
            _ticks_or_none(self.closes[decided - 1], decided > 0),
            _ticks_or_none(arrived, has_arrival),
            _ticks_or_none(self.closes[ended - 1], ended > 0),
            vwap.tolist(),
        )


def _measure(record: OrderRecord, found: _Found, prices: _Prices) -> OrderExecution:
    filled = notional = fees = 0
    for _, fill in record.fills:
        filled += fill.lots
        notional += fill.notional
        fees += fill.fee
    decision, arrival, end, vwap = found
    if decision is None:  # nothing was known yet: it begins where the market begins
        decision = arrival if arrival is not None else end or 0
    end = decision if end is None else end
    side = -int(record.side) if prices.terms.is_inverse else int(record.side)
    decision_value = prices.value(filled, decision)
    arrival_value = prices.value(filled, decision if arrival is None else arrival)
    vwap_value = prices.float_value(filled, vwap / prices.tick_size)
    missed = record.lots - filled
    return OrderExecution(
        client_order_id=record.client_order_id,
        strategy=record.strategy,
        instrument=record.instrument,
        side=record.side,
        order_type=record.order_type,
        ts_decision=record.ts_decision,
        ts_arrival=record.ts_arrival,
        ts_first_fill=record.fills[0][1].ts_fill if record.fills else None,
        ts_last_fill=record.fills[-1][1].ts_fill if record.fills else None,
        lots=record.lots,
        filled_lots=filled,
        filled_notional=notional,
        decision_ticks=decision,
        arrival_ticks=arrival,
        end_ticks=end,
        paper_notional=prices.value(record.lots, decision),
        decision_value=decision_value,
        arrival_value=arrival_value,
        delay=side * (arrival_value - decision_value),
        execution=side * (notional - arrival_value),
        opportunity=side * (prices.value(missed, end) - prices.value(missed, decision)),
        fees=fees,
        vwap=vwap,
        vwap_value=vwap_value,
        vwap_slippage=side * (notional / E8 - vwap_value),
    )


def _times(times: Iterable[int | None]) -> Ints:
    """Times as an array; later than everything where there is none."""
    return np.fromiter((INT64_MAX if each is None else each for each in times), dtype=np.int64)


def _step(record: OrderRecord, at: int) -> int | None:
    return record.fills[at][0] if record.fills else None


def _ticks_or_none(ticks: Ints, there_is: npt.NDArray[np.bool_]) -> list[int | None]:
    pairs = zip(ticks.tolist(), there_is.tolist(), strict=True)
    return [each if is_there else None for each, is_there in pairs]


def _running(values: Floats) -> npt.NDArray[np.float64]:
    return np.concatenate(([0.0], np.cumsum(values)))


def _add(values: Iterable[float]) -> float:
    """Their sum in the order they come: the same bits everywhere."""
    return float(np.cumsum(np.fromiter(chain((0.0,), values), dtype=np.float64))[-1])


def _bps(cost: float, value: float) -> float:
    return cost / value * 10_000.0 if value else NAN
