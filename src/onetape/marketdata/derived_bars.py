"""Bars of the catalog made from shorter ones of the catalog."""

from __future__ import annotations

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.marketdata.aggregation import Aggregated, LatePolicy, aggregate
from onetape.marketdata.bar_rule import BarRule
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.catalog import Catalog, WriteOutcome
from onetape.marketdata.pieces import bars_as_pieces


class DerivedBars(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What was made and how the catalog took it."""

    rule: BarRule
    made: Aggregated
    outcome: WriteOutcome


def derive_bars(
    catalog: Catalog,
    instrument_id: str,
    timeframe: str,
    rule: BarRule,
    *,
    ts_ingest: int,
    timezone: str = "",
    grace_ns: int | None = None,
    late: LatePolicy = LatePolicy.REFUSE,
    after_close_ns: int = 0,
    replace: bool = False,
) -> DerivedBars:
    """Makes longer bars from the newest version of a dataset and writes them beside it.

    Args:
        catalog: Where both are.
        instrument_id: Whose bars.
        timeframe: Of the bars they are made of.
        rule: What ends a longer one; its name is their timeframe.
        ts_ingest: When, ns UTC.
        timezone: Zone of the days of a `24/7` calendar; empty means UTC.
        grace_ns: See `aggregate`.
        late: See `aggregate`.
        after_close_ns: See `aggregate`.
        replace: Whether bars that differ from stored ones replace them.

    Raises:
        DataError: There is no such dataset, the bars don't fit into longer ones, no longer bar is
            over, or stored ones differ.
    """
    definition = catalog.instrument(instrument_id)
    (bars,) = catalog.read_many([instrument_id], timeframe)
    name = f"{instrument_id} {timeframe}"
    if rule.name == timeframe:
        raise DataError(f"{timeframe} bars can't be made of {timeframe} bars", where=name)
    calendar = build_calendar(definition.calendar, timezone)
    pieces = bars_as_pieces(bars.columns, name)
    made = aggregate(
        pieces, rule, calendar, grace_ns=grace_ns, late=late, after_close_ns=after_close_ns,
        where=name,
    )  # fmt: skip
    if not len(made.columns["ts_open"]):
        raise DataError(
            f"the {len(pieces):,} bars make no finished {rule.name} bar: {made.outside:,} lie "
            f"outside sessions, {made.unfinished:,} belong to bars that are not over", where=name,
        )  # fmt: skip
    outcome = catalog.write_bars(
        InstrumentId(instrument_id),
        rule.name,
        made.columns,
        source=f"{timeframe} version {bars.version}{', by session' if rule.by_session else ''}",
        adjustment=bars.adjustment,
        ts_ingest=ts_ingest,
        replace=replace,
    )
    return DerivedBars(rule=rule, made=made, outcome=outcome)
