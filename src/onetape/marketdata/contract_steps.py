"""What happens to instruments between rows, in the order in which a session meets it.

Funding, mark prices and trading statuses come from files. A future settles at the end of each of
its sessions, and futures and options expire: that follows from their definitions and the times of
the bars.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import FutureTerms, Instrument, InstrumentId, OptionTerms
from onetape.domain.market import (
    ContractExpiry,
    ContractStep,
    FundingRate,
    MarkPrice,
    SessionSettlement,
    TradingStatus,
)
from onetape.domain.timestamps import to_iso
from onetape.marketdata.bars import BarColumns

Series = Sequence[tuple[Instrument, BarColumns]]


def order_steps(given: Sequence[ContractStep], series: Series) -> tuple[ContractStep, ...]:
    """The steps of a session, those given and those that follow, with the time of each.

    That is their own time, or a nanosecond after the newest bar that had opened before it is known,
    if that is later: a bar that contains the time counts as before it. What comes after the last
    bar is left out. At one time the order is
    that of the instruments, then: mark, funding, settlement, expiry, trading status.

    Raises:
        DataError: There are bars of an instrument after its expiry, an option's underlying has no
            bars, or a step is of an instrument that has none.
    """
    if not given and not any(instrument.is_contract for instrument, _ in series):
        return ()
    index = {instrument.id: at for at, (instrument, _) in enumerate(series)}
    steps = [*given]
    for instrument, columns in series:
        if isinstance(instrument.terms, FutureTerms):
            steps += _settlements(instrument, columns)
        ts_expiry = instrument.ts_expiry
        if ts_expiry is not None:
            steps += _expiry(instrument, columns, ts_expiry)
    end = max(int(columns["ts_close"][-1]) for _, columns in series)
    known = [_place(each, series, index) for each in steps if each.ts_event <= end]
    known.sort(key=lambda each: (each.ts_known, index[each.instrument], each.ts_event, _rank(each)))
    return tuple(known)


def _rank(step: ContractStep) -> int:
    kinds = (MarkPrice, FundingRate, SessionSettlement, ContractExpiry, TradingStatus)
    return kinds.index(type(step))


def _settlements(instrument: Instrument, columns: BarColumns) -> list[SessionSettlement]:
    """One at the end of each session that the bars reach."""
    ends = np.unique(np.maximum.accumulate(columns["session_close"]))
    reached = ends[ends <= columns["ts_close"][-1]]
    return [
        SessionSettlement(instrument=instrument.id, ts_event=ts, ts_known=ts, source="calendar")
        for ts in reached.tolist()
        if instrument.ts_expiry is None or ts < instrument.ts_expiry
    ]


def _expiry(instrument: Instrument, columns: BarColumns, ts_expiry: int) -> list[ContractExpiry]:
    opens = columns["ts_open"]
    if opens[-1] >= ts_expiry:
        raise DataError(
            f"{instrument.id} expires at {to_iso(ts_expiry)} and has a bar that opens at "
            f"{to_iso(int(opens[-1]))}",
            remedy="check its expiry, or end the run before",
        )
    return [
        ContractExpiry(
            instrument=instrument.id, ts_event=ts_expiry, ts_known=ts_expiry, source="definition"
        )
    ]


def _place(step: ContractStep, series: Series, index: dict[InstrumentId, int]) -> ContractStep:
    if step.instrument not in index:
        raise DataError(f"there is a {type(step).__name__} of {step.instrument}, which has no bars")
    instrument, columns = series[index[step.instrument]]
    ts = max(step.ts_event, _known_by(step.ts_event, columns) + 1)
    terms = instrument.terms
    if isinstance(terms, OptionTerms):
        if terms.underlying not in index:
            raise DataError(
                f"{instrument.id} settles by {terms.underlying}, which has no bars",
                remedy="add it to data.instruments",
            )
        underlying = series[index[terms.underlying]][1]
        ts = max(ts, _known_by(step.ts_event, underlying) + 1)
    return msgspec.structs.replace(step, ts_known=ts)


def _known_by(ts: int, columns: BarColumns) -> int:
    """When the newest bar that opened before `ts` was known; -1: there is none."""
    before = int(np.searchsorted(columns["ts_open"], ts, side="left"))
    return int(columns["ts_known"][before - 1]) if before else -1
