"""Funding of perpetuals: rows of the catalog or a CSV file, put in time among the bars.

| column       | is                                                                             |
| ------------ | ------------------------------------------------------------------------------ |
| `instrument` | id, `SYMBOL.VENUE`                                                             |
| `ts`         | when it is paid: ISO 8601, UTC unless it has an offset, or ms since 1970        |
| `rate`       | what longs pay shorts, as a fraction of the notional                           |
| `mark`       | may be left out: the venue's mark price then                                   |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.events import DatasetPin
from onetape.domain.instrument import Instrument, InstrumentId, PerpetualTerms
from onetape.domain.market import FUNDING_RATE_MAX, ContractStep, FundingRate, MarkPrice
from onetape.domain.numbers import to_decimal, to_grid
from onetape.marketdata.bars import BarColumns
from onetape.marketdata.side_files import pin_rows, read_table, read_time

FUNDING = "funding"
"""`timeframe` of a pin of funding rates."""

_NEEDED = ("instrument", "ts", "rate")
_MORE = ("mark",)
_STEP = Decimal("1e-10")


class FundingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row; `mark` 0: none was given. `where` is its place."""

    where: str
    instrument: InstrumentId
    ts: int
    rate: float
    mark: float


def read_funding(path: Path, known: Collection[str]) -> list[FundingRow]:
    """The rows of a file in their order.

    Args:
        path: The file.
        known: Every instrument that there is; others are errors.

    Raises:
        DataError: There is no such file, its header is another one, or a row is wrong; file and
            line are told.
    """
    rows: list[FundingRow] = []
    seen: dict[tuple[str, int], str] = {}
    for where, fields in read_table(path, "funding rates", _NEEDED, _MORE, known):
        row = to_funding_row(fields, where)
        before = seen.setdefault((row.instrument, row.ts), where)
        if before != where:
            raise DataError(f"the same funding stands at {before}", where=where)
        rows.append(row)
    return rows


def to_funding_row(fields: Mapping[str, str], where: str) -> FundingRow:
    """The funding that the text of a row tells; raises `DataError`."""
    try:
        mark = to_decimal(fields.get("mark") or "0", "mark", error=DataError)
        if mark < 0 or (fields.get("mark") and mark == 0):
            raise DataError(f"mark {mark} is not positive")
        return FundingRow(
            where=where,
            instrument=InstrumentId(fields["instrument"]),
            ts=read_time(fields["ts"]),
            rate=_read_rate(fields["rate"]),
            mark=float(mark),
        )
    except DataError as error:
        raise DataError(error.what, where=where, remedy=error.remedy) from None


def _read_rate(text: str) -> float:
    rate = to_decimal(text, "rate", error=DataError)
    to_grid(rate, _STEP, "rate", error=DataError)
    if abs(rate) >= Decimal(str(FUNDING_RATE_MAX)):
        raise DataError(
            f"rate {rate} is not between -{FUNDING_RATE_MAX} and {FUNDING_RATE_MAX}",
            remedy="a rate is a fraction: 0.01 % is 0.0001",
        )
    return float(rate)


def place_funding(
    rows: Sequence[FundingRow], series: Sequence[tuple[Instrument, BarColumns]], ts_end: int
) -> list[ContractStep]:
    """The steps of a session in the order of the rows; `ts_known` is still their own time.

    Left out are rows of other instruments, those from before an instrument's first bar has closed,
    when nobody can hold it, and those at or after `ts_end` (ns UTC).

    Raises:
        DataError: A row is of something else than a perpetual; file and line are told.
    """
    bars = {instrument.id: (instrument, columns) for instrument, columns in series}
    placed: list[ContractStep] = []
    for row in rows:
        if row.instrument not in bars:
            continue
        instrument, columns = bars[row.instrument]
        if not isinstance(instrument.terms, PerpetualTerms):
            raise DataError(
                f"{instrument.id} is of kind {instrument.kind.value}, which has no funding",
                where=row.where,
                remedy="funding is for perpetuals",
            )
        if not columns["ts_close"][0] <= row.ts < ts_end:
            continue
        if row.mark and not _is_inside_a_bar(row.ts, columns):
            placed.append(
                MarkPrice(
                    instrument=row.instrument, ts_event=row.ts, ts_known=row.ts, price=row.mark,
                    source="file",
                )
            )  # fmt: skip
        placed.append(
            FundingRate(
                instrument=row.instrument, ts_event=row.ts, ts_known=row.ts, rate=row.rate,
                mark=row.mark, source="file",
            )
        )  # fmt: skip
    return placed


def _is_inside_a_bar(ts: int, columns: BarColumns) -> bool:
    at = int(np.searchsorted(columns["ts_close"], ts, side="right"))
    return at < len(columns["ts_open"]) and bool(columns["ts_open"][at] < ts)


def pin_funding(rates: Sequence[ContractStep]) -> tuple[DatasetPin, ...]:
    """One pin for each instrument that has funding; the hash is over time, rate and mark."""
    return pin_rows(
        FUNDING,
        (
            (each.instrument, each.ts_event, f"{each.ts_event} {each.rate!r} {each.mark!r}")
            for each in rates
            if isinstance(each, FundingRate)
        ),
    )
