"""The tables of the report as rows of text, for HTML and markdown alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from onetape.domain.events import OrderShrunk
from onetape.domain.numbers import minor_to_decimal
from onetape.domain.timestamps import NS_PER_DAY, has_length, timeframe_ns
from onetape.portfolio.round_trips import RoundTrip
from onetape.research import report_format as text
from onetape.research.result_table import cost_rows, figure_rows
from onetape.research.run_summary import RunSummary
from onetape.tape.envelope import TYPES

MAX_ROUND_TRIPS = 500
MAX_INSTRUMENTS = 50


class Table(NamedTuple):
    """Column names, rows of text, how many leading columns are words, and a remark below."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    words: int = 1
    remark: str = ""


def round_trips_table(summary: RunSummary, limit: int = MAX_ROUND_TRIPS) -> Table:
    """Newest round trips first, open ones on top."""
    instruments = {each.id: each for each in summary.timeline.tradable}
    timeframe = summary.timeline.timeframe
    daily = has_length(timeframe) and timeframe_ns(timeframe) >= NS_PER_DAY
    moment = text.day if daily else text.minute
    total = len(summary.round_trips)
    shown = summary.round_trips[-limit:][::-1]

    def row(trip: RoundTrip) -> tuple[str, ...]:
        quantity = instruments[trip.instrument].lots_to_quantity(trip.lots)
        return (
            trip.instrument,
            trip.strategy,
            trip.side.value,
            moment(trip.ts_entry),
            "open" if trip.is_open else moment(trip.ts_exit),
            text.number(float(quantity)),
            text.number(trip.entry_price),
            text.number(trip.exit_price) if trip.exit_price else text.DASH,
            text.money(minor_to_decimal(trip.pnl_net)),
            text.percent(trip.return_ratio),
            text.money(minor_to_decimal(trip.fees)),
            text.duration(trip.duration_ns),
        )

    columns = ("Instrument", "Strategy", "Side", "Entry (UTC)", "Exit (UTC)", "Quantity",
               "Entry price", "Exit price", "Net PnL", "Return", "Fees", "Held")  # fmt: skip
    remark = (
        f"The newest {limit:,} of {total:,}; all are in round_trips.parquet."
        if total > limit
        else ""
    )
    return Table(columns, [row(each) for each in shown], 5, remark)


def years_table(summary: RunSummary) -> Table:
    """Return of each calendar year."""
    return Table(("Year", "Return"), [(y, text.percent(r)) for y, r in summary.returns_by_year])


def instruments_table(summary: RunSummary) -> Table:
    """What each traded instrument did, most traded first."""
    rows = [
        (
            each.instrument,
            text.count(each.fills),
            text.count(each.round_trips),
            text.money(each.traded_notional),
            text.money(each.fees),
            text.money(each.net_profit),
        )
        for each in summary.instruments
    ]
    columns = ("Instrument", "Fills", "Round trips", "Traded notional", "Fees", "Net profit")
    return _capped(columns, rows)


def strategies_table(summary: RunSummary) -> Table:
    """The figures of each strategy side by side, one column a strategy."""
    columns = [figure_rows(each, summary.currency) for each in summary.strategies.values()]
    rows = [(row[0].label, *(each.value for each in row)) for row in zip(*columns, strict=True)]
    return Table(("", *summary.strategies), rows)


def costs_table(summary: RunSummary) -> Table:
    """What trading cost."""
    rows = [(row.label, row.value) for row in cost_rows(summary.account, summary.currency)]
    return Table(("Cost", "Value"), rows)


def denials_table(summary: RunSummary) -> Table:
    """Denied orders by reason, with the numbers."""
    rows = [
        (
            each.code,
            each.unit,
            text.count(each.count),
            _span(each.actual_min, each.actual_max),
            _span(each.limit_min, each.limit_max),
            text.minute(each.ts_first),
            text.minute(each.ts_last),
        )
        for each in summary.denials
    ]
    return Table(
        ("Reason", "Unit", "Orders", "Wanted", "Limit", "First (UTC)", "Last (UTC)"), rows, 2
    )


def orders_table(summary: RunSummary) -> Table:
    """How many orders ended how."""
    denied = len(summary.projection.denied)
    rows = [(status, text.count(number)) for status, number in summary.orders_by_status.items()]
    rows.append(("denied by risk", text.count(denied)))
    shrunk = summary.projection.counts[TYPES[OrderShrunk]]
    if shrunk:
        rows.append(("times that risk shrank an order", text.count(shrunk)))
    return Table(("Order status", "Orders"), rows)


def datasets_table(summary: RunSummary) -> Table:
    """Which market data the session read."""
    rows = [
        (
            pin.instrument,
            pin.timeframe,
            pin.adjustment,
            str(pin.table_version),
            text.count(pin.rows),
            text.day(pin.ts_first),
            text.day(pin.ts_last),
            pin.content_hash[:16],
        )
        for pin in summary.projection.header.datasets
    ]
    columns = ("Instrument", "Bars", "Adjustment", "Version", "Rows", "First", "Last", "Hash")
    return _capped(columns, rows, words=3)


def assumptions_table(summary: RunSummary) -> Table:
    """How orders became fills and what risk allowed: the settings that were in force."""
    config = summary.config
    rows: list[tuple[str, ...]] = []
    for section in ("execution", "risk"):
        rows.extend(_flatten(section, config.get(section)))
    for index, strategy in enumerate(config.get("strategies", ())):
        rows.extend(_flatten(f"strategies.{index}", strategy))
    return Table(("Setting", "Value"), rows, 2)


def _flatten(key: str, value: Any) -> list[tuple[str, ...]]:
    """Settings by dotted key; those that are off (null or empty) are left out."""
    if isinstance(value, dict):
        return [row for name, each in value.items() for row in _flatten(f"{key}.{name}", each)]
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return [row for at, each in enumerate(value) for row in _flatten(f"{key}.{at}", each)]
    if value is None or value == []:
        return []
    shown = ", ".join(map(str, value)) if isinstance(value, list) else value
    return [(key, str(shown).lower() if isinstance(shown, bool) else str(shown))]


def _capped(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], words: int = 1) -> Table:
    remark = f"The first {MAX_INSTRUMENTS} of {len(rows):,}; all are in metrics.json."
    return Table(
        columns, list(rows[:MAX_INSTRUMENTS]), words, remark if len(rows) > MAX_INSTRUMENTS else ""
    )


def _span(low: float, high: float) -> str:
    return text.number(low) if low == high else f"{text.number(low)} to {text.number(high)}"
