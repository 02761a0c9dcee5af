"""Timelines of trade prints, of quotes, and of the depth of a book with the prints between.

Quotes and depth carry no corporate actions: until the next quote the old prices would stand in the
venue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.events import DatasetPin
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import (
    BOOK,
    QUOTES,
    TICK_INT_COLUMNS,
    TRADE_INT_COLUMNS,
    TRADES,
    ContractStep,
    CorporateAction,
)
from onetape.domain.nearest import nearest
from onetape.marketdata.bars import BarColumns
from onetape.marketdata.contract_steps import order_steps
from onetape.marketdata.corporate_actions import order_actions
from onetape.marketdata.tick_pieces import (
    QUALITY,
    MergedRows,
    Pieces,
    TickSeries,
    merge_pieces,
    piece_rows,
)
from onetape.marketdata.ticks import TICK_COLUMNS, Standing
from onetape.marketdata.timeline import Timeline, TimelineKind, check_instruments
from onetape.marketdata.trades import TRADE_COLUMNS

Columns = Mapping[str, npt.NDArray[Any]]
Series = Sequence[tuple[Instrument, BarColumns]]
Place = Callable[
    [Series],
    tuple[Sequence[CorporateAction], Sequence[ContractStep], tuple[DatasetPin, ...]],
]
"""What lies beside the rows, from the bars that they are matched as."""

_TIMEFRAMES: Mapping[TimelineKind, str] = {"trades": TRADES, "quotes": QUOTES, "book": BOOK}
_INTS = (*TRADE_INT_COLUMNS, *TICK_INT_COLUMNS, "ts_open", QUALITY)
_PLACED = ("ts_open", "ts_close", "ts_known", "session_close", "close")


def build_trade_timeline(
    series: Sequence[tuple[Instrument, Columns]],
    *,
    source: str,
    actions: Sequence[CorporateAction] = (),
    steps: Sequence[ContractStep] = (),
    datasets: Sequence[DatasetPin] = (),
    action_pins: Sequence[DatasetPin] = (),
) -> Timeline:
    """Merges trade prints that are in memory, as `build_timeline` does bars.

    Args:
        series: Each instrument with its prints in time order, as `complete_trades` takes them; the
            order breaks ties, and prints of one instrument and time keep theirs.
        source: Provenance, as prints tell it.
        actions: Corporate actions, as `build_timeline` takes them.
        steps: Funding and mark prices, as `build_timeline` takes them.
        datasets: Pins of what `series` was read from.
        action_pins: Pins of what `actions` and `steps` were read from.

    Raises:
        DataError: There is no instrument, one comes twice, columns are no prints in time order, or
            an action or step does not fit (see `order_actions` and `order_steps`).
    """
    return build_ticks(
        [TickSeries(instrument, "trades", columns) for instrument, columns in series],
        source=source, actions=actions, steps=steps, datasets=datasets, action_pins=action_pins,
    )  # fmt: skip


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
            time order.
    """
    return build_ticks(
        [TickSeries(instrument, "quotes", columns) for instrument, columns in series],
        _prints_of(series, trades, "quotes"), kind="quotes", source=source, datasets=datasets,
        steps=steps, action_pins=action_pins,
    )  # fmt: skip


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
    return build_ticks(
        [TickSeries(instrument, "book", columns) for instrument, columns in series],
        _prints_of(series, trades, "book"), kind="book", source=source, datasets=datasets,
        steps=steps, action_pins=action_pins,
    )  # fmt: skip


def _prints_of(
    series: Sequence[tuple[Instrument, Columns]], trades: Mapping[str, Columns] | None, kind: str
) -> dict[str, TickSeries]:
    """Prints by instrument id."""
    defined = {each.id: each for each, _ in series}
    found: dict[str, TickSeries] = {}
    for name, columns in (trades or {}).items():
        if name not in defined:
            raise DataError(f"prints of {name}, which has no {kind}",
                            remedy=nearest(name, defined))  # fmt: skip
        found[name] = TickSeries(defined[InstrumentId(name)], "trades", columns)
    return found


def build_ticks(
    main: Sequence[TickSeries],
    prints: Mapping[str, TickSeries] | None = None,
    *,
    kind: TimelineKind = "trades",
    source: str,
    datasets: Sequence[DatasetPin] = (),
    actions: Sequence[CorporateAction] = (),
    steps: Sequence[ContractStep] = (),
    action_pins: Sequence[DatasetPin] = (),
    place: Place | None = None,
) -> Timeline:
    """Merges records, wherever they are, into rows that are laid aside; memory is that of pieces.

    Args:
        main: Records of that `kind`, a series an instrument; the order breaks ties.
        prints: Prints between quotes or changes of the depth, by instrument id.
        kind: Of the rows.
        source: Provenance, as rows tell it.
        datasets: Pins of what all this was read from.
        actions: Corporate actions; of prints only.
        steps: What happens to contracts, and trading statuses.
        action_pins: Pins of what they were read from.
        place: Gives `actions`, `steps` and `action_pins`, from the rows.

    Raises:
        DataError: There is no instrument, one comes twice, the rows can't be merged (see
            `Standing`), or an action or step does not fit (see `order_actions`, `order_steps`).
        TryAgain: There is no room on the disk to lay rows aside.
    """
    instruments = check_instruments([each.instrument for each in main])
    between = prints or {}
    records = [
        [each for each in (between.get(own.instrument.id), own) if each is not None] for own in main
    ]
    flags = (QUALITY,) if any(each.is_flagged for own in records for each in own) else ()
    step = piece_rows(sum(map(len, records)))
    standing = [None if kind == "trades" else Standing(each.instrument) for each in main]
    streams = [
        read_rows(own, step, each, flagged=bool(flags))
        for own, each in zip(records, standing, strict=True)
    ]
    kept = TRADE_COLUMNS if kind == "trades" else (*TICK_COLUMNS, "close", "volume")
    names = (*kept, "ts_open", *flags)
    types = {name: np.int64 if name in _INTS else np.float64 for name in names}
    merged = MergedRows(streams, types, [sum(map(len, own)) for own in records])
    price, size = ("price", "size") if kind == "trades" else ("close", "volume")
    found = merged.columns
    columns = merged.columns = {
        **{name: found[name] for name in kept},
        "ts_open": found["ts_open"],
        "ts_close": found["ts_event"],
        **dict.fromkeys(("open", "high", "low", "close"), found[price]),
        "volume": found[size],
        **{name: found[name] for name in flags},
    }
    if place is not None or actions or steps or any(each.is_contract for each in instruments):
        bars = [(each, merged.series_of(at, _PLACED)) for at, each in enumerate(instruments)]
        if place is not None:
            actions, steps, action_pins = place(bars)
        actions = order_actions(actions, bars) if actions else ()
        steps = order_steps(steps, bars)
    return Timeline(
        instruments,
        merged.instrument_index,
        columns,
        dict(zip((each.id for each in instruments), merged.rows, strict=True)),
        datasets=tuple(datasets),
        source=source,
        timeframe=_TIMEFRAMES[kind],
        kind=kind,
        actions=tuple(actions),
        action_pins=tuple(action_pins),
        steps=tuple(steps),
        files=(merged.file,),
    )


def read_rows(
    records: Sequence[TickSeries], rows: int, standing: Standing | None, *, flagged: bool = False
) -> Pieces:
    """The rows of one instrument in pieces; at one `ts_known` the first of `records` come first.

    So what was traded is told before what is left.

    Args:
        records: Prints before quotes or changes of the depth.
        rows: How many of each are looked at in one go.
        standing: What stands before them, and behind each; None: they are bare prints.
        flagged: With `quality`.

    Raises:
        DataError: They are no such records in time order, or can't be merged (see `Standing`).
    """
    pieces = [each.read(rows, flagged=flagged, bare=standing is None) for each in records]
    for piece, _ in merge_pieces(pieces):
        if standing is not None:
            yield standing.take(piece)
        else:
            yield {**piece, "ts_open": piece["ts_event"] - 1}
