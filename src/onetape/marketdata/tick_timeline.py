"""Timelines of quotes and of the depth of a book, with the trade prints between them.

They carry no corporate actions: until the next quote the old prices would stand in the venue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.events import DatasetPin
from onetape.domain.instrument import Instrument
from onetape.domain.market import BOOK, QUOTES, ContractStep
from onetape.domain.nearest import nearest
from onetape.marketdata.contract_steps import order_steps
from onetape.marketdata.ticks import (
    TickColumns,
    complete_deltas,
    complete_quotes,
    complete_ticks,
)
from onetape.marketdata.timeline import (
    Timeline,
    TimelineKind,
    check_instruments,
    merge_series,
)

Columns = Mapping[str, npt.NDArray[Any]]


def build_quote_timeline(
    series: Sequence[tuple[Instrument, Columns]],
    *,
    source: str,
    trades: Mapping[str, Columns] | None = None,
    datasets: Sequence[DatasetPin] = (),
    steps: Sequence[ContractStep] = (),
    action_pins: Sequence[DatasetPin] = (),
) -> Timeline:
    """Merges quotes that are in memory, as `build_trade_timeline` does prints.

    Args:
        series: Each instrument with its quotes in time order, as `complete_quotes` takes them; the
            order breaks ties, and quotes of one instrument and time keep theirs.
        source: Provenance, as quotes tell it.
        trades: Prints by instrument id, as `complete_trades` takes them; at one `ts_known` they
            come before the quotes of their instrument.
        datasets: Pins of what all this was read from.
        steps: Trading statuses.
        action_pins: Pins of what they were read from.

    Raises:
        DataError: There is no instrument, one comes twice, or columns are no quotes or prints in
            time order (see `complete_ticks`).
    """
    return _build("quotes", complete_quotes, series, source, trades, datasets, steps, action_pins)


def build_book_timeline(
    series: Sequence[tuple[Instrument, Columns]],
    *,
    source: str,
    trades: Mapping[str, Columns] | None = None,
    datasets: Sequence[DatasetPin] = (),
    steps: Sequence[ContractStep] = (),
    action_pins: Sequence[DatasetPin] = (),
) -> Timeline:
    """Merges changes of the depth that are in memory; `build_quote_timeline` tells the rest.

    Args:
        series: Each instrument with its changes, as `complete_deltas` takes them.
        source: Provenance, as changes tell it.
        trades: Prints by instrument id; the queue models need them.
        datasets: Pins of what all this was read from.
        steps: Trading statuses.
        action_pins: Pins of what they were read from.

    Raises:
        DataError: As of `build_quote_timeline`; and where the depth is off the grid or crossed.
    """
    return _build("book", complete_deltas, series, source, trades, datasets, steps, action_pins)


def _build(
    kind: TimelineKind,
    complete: Callable[[Columns, str], TickColumns],
    series: Sequence[tuple[Instrument, Columns]],
    source: str,
    trades: Mapping[str, Columns] | None,
    datasets: Sequence[DatasetPin],
    steps: Sequence[ContractStep],
    action_pins: Sequence[DatasetPin],
) -> Timeline:
    instruments = check_instruments([instrument for instrument, _ in series])
    ids = [each.id for each in instruments]
    prints = dict(trades or {})
    for each in prints:
        if each not in ids:
            raise DataError(f"prints of {each}, which has no {kind}", remedy=nearest(each, ids))
    completed = [
        complete_ticks(instrument, complete(columns, instrument.id), prints.get(instrument.id))
        for instrument, columns in series
    ]
    merged, index, rows = merge_series(completed, tuple(completed[0]))
    return Timeline(
        instruments,
        index,
        merged,
        dict(zip(ids, rows, strict=True)),
        datasets=tuple(datasets),
        source=source,
        timeframe=QUOTES if kind == "quotes" else BOOK,
        kind=kind,
        action_pins=tuple(action_pins),
        steps=order_steps(steps, list(zip(instruments, completed, strict=True))),
    )
