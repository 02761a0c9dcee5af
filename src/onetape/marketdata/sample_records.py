"""Generated data into the catalog: bars through the importer's checks, and what made them."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument
from onetape.domain.timestamps import to_iso
from onetape.marketdata.bars import BarColumns, IntArray
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.catalog import Catalog, WriteOutcome
from onetape.marketdata.importer import ImportOptions, ImportResult, check_bars
from onetape.marketdata.pulled_rows import gather
from onetape.marketdata.record_kinds import RecordColumns, RecordKind
from onetape.marketdata.records import RecordOutcome
from onetape.marketdata.sample_data import (
    SampleModel,
    SampleSeries,
    generate_series,
    to_prices,
    to_sizes,
)
from onetape.marketdata.sample_depth import make_depth
from onetape.marketdata.sample_times import SampleTimes, plan_times
from onetape.marketdata.sources.port import SourcePage

SAMPLE_RECORDS = (RecordKind.TRADES, RecordKind.QUOTES, RecordKind.BOOK)
"""What can be generated beside bars."""

COMMIT_ROWS = 500_000
"""Records of one commit, more or less."""


class SampleRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to generate; bars open from `ts_start` up to but not including `ts_end`, ns UTC."""

    timeframe: str
    ts_start: int
    ts_end: int
    seed: int
    model: SampleModel = SampleModel()
    records: tuple[RecordKind, ...] = ()

    @property
    def source(self) -> str:
        """Provenance: the seed, the span, and every parameter that is not the usual one."""
        usual = SampleModel()
        told = [
            f"{name}={getattr(self.model, name)!r}"
            for name in self.model.__struct_fields__
            if getattr(self.model, name) != getattr(usual, name)
        ]
        span = f"{to_iso(self.ts_start)}/{to_iso(self.ts_end)}"
        return " ".join([f"generated seed={self.seed}", f"{self.timeframe} {span}", *told])


class Sample(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Checked bars of one instrument, and the records asked for, that made them."""

    bars: ImportResult
    records: dict[RecordKind, RecordColumns]


class SampleOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What writing a sample did."""

    bars: WriteOutcome
    records: dict[RecordKind, RecordOutcome]


def generate_sample(instrument: Instrument, request: SampleRequest, *, ts_now: int) -> Sample:
    """Generates one instrument's data; `ts_now` is the caller's clock, as in `check_bars`.

    Raises:
        DataError: What is asked can't be generated, or the importer refuses it: for one, a bar
            that is not over.
    """
    calendar = build_calendar(instrument.calendar)
    times = plan_times(calendar, request.timeframe, request.ts_start, request.ts_end)
    series = generate_series(request.model, instrument, times, request.seed)
    bars = _check(instrument, request, times, series, ts_now)
    made: dict[RecordKind, RecordColumns] = {}
    for kind in request.records:
        match kind:
            case RecordKind.TRADES:
                made[kind] = _make_trades(series, instrument, bars.columns)
            case RecordKind.QUOTES:
                made[kind] = _make_quotes(series, instrument, bars.columns)
            case RecordKind.BOOK:
                made[kind] = make_depth(
                    series, request.model, instrument, bars.columns, request.seed
                )
            case _:
                raise DataError(
                    f"{kind.value} are not generated",
                    remedy=f"choose of {', '.join(each.value for each in SAMPLE_RECORDS)}",
                )
    return Sample(bars=bars, records=made)


def _check(
    instrument: Instrument,
    request: SampleRequest,
    times: SampleTimes,
    series: SampleSeries,
    ts_now: int,
) -> ImportResult:
    by_date = request.timeframe == "1d"
    page = SourcePage(
        times=(times.days if by_date else times.ts_open)[series.kept],
        values=series.bars(instrument),
        by_date=by_date,
    )
    table = gather([page], lambda _rows, _ts: None)
    if table is None:  # a series has bars
        raise DataError("there are no bars", where=instrument.id)
    table = msgspec.structs.replace(table, path=f"{instrument.id} generated")
    options = ImportOptions(source=request.source)
    return check_bars(table, instrument, request.timeframe, options, ts_now=ts_now)


def write_sample(
    catalog: Catalog, instrument: Instrument, sample: Sample, *, ts_ingest: int
) -> SampleOutcome:
    """Writes a sample where there is nothing of its instrument, or completes the same one.

    Bars are one commit and come first, records are several; after a kill the same call writes what
    is missing.

    Raises:
        DataError: The catalog has data of the instrument that are not of this sample.
        TryAgain: Others wrote at the same time, again and again.
    """
    bars = sample.bars
    _refuse_mixture(catalog, bars)
    written = catalog.write_bars(
        instrument.id,
        bars.timeframe,
        bars.columns,
        source=bars.source,
        adjustment=bars.adjustment,
        ts_ingest=ts_ingest,
        definition=instrument,
    )
    records = {
        kind: _write_records(catalog, kind, bars, columns, ts_ingest)
        for kind, columns in sample.records.items()
    }
    return SampleOutcome(bars=written, records=records)


def _write_records(
    catalog: Catalog, kind: RecordKind, bars: ImportResult, columns: RecordColumns, ts_ingest: int
) -> RecordOutcome:
    """Writes part by part, which bounds memory; rows of one `ts_event` stay together."""
    at = columns["ts_event"]
    cuts = np.searchsorted(at, at[COMMIT_ROWS::COMMIT_ROWS]).tolist()
    edges = sorted({0, *cuts, len(at)})
    outcomes = [
        catalog.records.write(
            kind,
            bars.instrument,
            {name: column[begin:end] for name, column in columns.items()},
            source=bars.source,
            ts_ingest=ts_ingest,
        )
        for begin, end in pairwise(edges)
    ]
    return RecordOutcome(
        version=max(each.version for each in outcomes),
        rows_written=sum(each.rows_written for each in outcomes),
        rows_removed=0,
    )


def _refuse_mixture(catalog: Catalog, bars: ImportResult) -> None:
    """Nobody shall take a made-up price for a real one, nor two samples for one series."""
    sources = [each.source for each in catalog.datasets() if each.instrument == bars.instrument]
    recorded = [each for each in catalog.records.datasets() if each.dataset == bars.instrument]
    if (sources or recorded) and bars.source not in sources:
        there = sources[0] if sources else f"{recorded[0].kind} of another source"
        raise DataError(
            f"the catalog has other data of {bars.instrument}: {there}", where=str(catalog.path),
            remedy="nothing was written; choose another id, or another catalog",
        )  # fmt: skip


def _make_trades(series: SampleSeries, instrument: Instrument, bars: BarColumns) -> RecordColumns:
    return {
        "ts_event": series.ts_print.ravel(),
        "session_close": _session_close(series, bars),
        "aggressor": series.aggressor.ravel(),
        "price": to_prices(series.price.ravel(), instrument),
        "size": to_sizes(series.lots.ravel(), instrument),
    }


def _make_quotes(series: SampleSeries, instrument: Instrument, bars: BarColumns) -> RecordColumns:
    return {
        "ts_event": series.ts_quote.ravel(),
        "session_close": _session_close(series, bars),
        "bid": to_prices(series.bid.ravel(), instrument),
        "ask": to_prices(series.ask.ravel(), instrument),
        "bid_size": to_sizes(series.bid_lots.ravel(), instrument),
        "ask_size": to_sizes(series.ask_lots.ravel(), instrument),
    }


def _session_close(series: SampleSeries, bars: BarColumns) -> IntArray:
    """Of every print of every bar."""
    return np.repeat(bars["session_close"], series.lots.shape[1])
