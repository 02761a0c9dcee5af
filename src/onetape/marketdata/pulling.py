"""From a provider into the catalog: what is missing, window by window, each whole or not at all.

The catalog is the only memory: after a kill, the next pull sees what was committed and goes on.
Windows lie on a fixed grid of time and each is checked together with the stored bars before it, so
a pull that was interrupted ends with the same rows and flags as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument
from onetape.domain.market import Quality
from onetape.domain.timestamps import NS_PER_DAY, NS_PER_SECOND, timeframe_ns, to_iso
from onetape.marketdata.bars import BarColumns, slice_rows
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.coverage import Coverage, Span, find_missing, merge_spans
from onetape.marketdata.importer import ImportOptions, ImportResult, check_bars
from onetape.marketdata.pulled_rows import gather, leave_out, match_stored, prepend_stored
from onetape.marketdata.quality import Repair
from onetape.marketdata.sources.port import BarSource

WINDOW_BARS = 40_000
"""Bars of one window, and so of one commit: what a kill can cost."""

CONTEXT_BARS = 200
"""Stored bars before a window that tell what steps are usual, so gaps at its edge are seen."""

SETTLED_NS = 2 * NS_PER_DAY
"""Providers publish late; until then, only the bars that came say how far a pull has come."""

OVERLAP_NS = 14 * NS_PER_DAY
"""How far from a window the stored bar next to it may be, to be asked for again."""

SKEW_NS = 5 * NS_PER_SECOND


class PullOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to pull.

    Args:
        replace: Ask for everything again; in one commit it takes the place of what is stored.
        repairs: What may be changed; see `Repair`.
        settle_ns: A bar counts as over so long after its close, for late corrections.
        window_bars: How many bars go into one commit.
    """

    replace: bool = False
    repairs: frozenset[Repair] = frozenset()
    settle_ns: int = 60 * NS_PER_SECOND
    window_bars: int = WINDOW_BARS


class PullResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a pull did; `rows` and `version` are None when the dataset has no bars at all."""

    rows_written: int
    rows: int | None
    version: int | None
    windows: int
    warnings: tuple[str, ...]
    repaired: dict[str, int]


Progress = Callable[[int, int, int], None]
"""Told ns done, ns in all, and bars so far."""


def pull_bars(
    source: BarSource,
    catalog: Catalog,
    instrument: Instrument,
    timeframe: str,
    span: Span,
    options: PullOptions | None = None,
    *,
    clock_ns: Callable[[], int],
    on_progress: Progress | None = None,
) -> PullResult:
    """Brings the bars that open in `span` into the catalog, as far as they are not there.

    Args:
        source: The provider.
        catalog: Where they go; its `coverage` says what was pulled before.
        instrument: Whose bars; its definition is written with the first ones.
        timeframe: Their length.
        span: Opens of the bars, ns UTC, half open. What is not over yet is left out.
        options: How.
        clock_ns: The adapter's clock, ns UTC; it gives `ts_ingest`.
        on_progress: Told after every window and page.

    Raises:
        DataError: The dataset is of another source; the provider has changed what it said before;
            rows are bad; the provider refuses.
        ConfigError: It refuses the key, or has no such bars.
        SourceUnavailable: It can't be reached; what came before stays.
    """
    work = _Pull(source, catalog, instrument, timeframe, options or PullOptions(), clock_ns)
    return work.run(span, on_progress or (lambda _done, _all, _rows: None))


class _Pull:
    """One pull of one dataset."""

    def __init__(
        self,
        source: BarSource,
        catalog: Catalog,
        instrument: Instrument,
        timeframe: str,
        options: PullOptions,
        clock_ns: Callable[[], int],
    ) -> None:
        self._source = source
        self._catalog = catalog
        self._instrument = instrument
        self._timeframe = timeframe
        self._options = options
        self._clock_ns = clock_ns
        self._where = f"{instrument.id} {timeframe} from {source.name}"
        self._length = timeframe_ns(timeframe, error=DataError)
        self._coverage = Coverage(catalog.path)
        self._version: int | None = None
        self._written = 0
        self._warnings: list[str] = []
        self._repaired: dict[str, int] = {}
        self._skew_told = False

    def run(self, span: Span, on_progress: Progress) -> PullResult:
        stored = self._read_stored()
        known = (self._instrument.id, self._timeframe, self._source.name)
        covered = [] if self._options.replace else self._coverage.read(*known)
        if stored is None:
            covered = []  # the bars it spoke of are gone
        span = (span[0], min(span[1], self._clock_ns() - self._options.settle_ns))
        windows = self._plan(span, covered, stored)
        total = sum(end - begin for begin, end in windows)
        done = 0
        for window in windows:
            reached = self._pull_window(window, partial(self._tell, on_progress, done, total))
            covered = merge_spans([*covered, (window[0], reached)])
            if self._version is not None:
                self._coverage.write(*known, covered)
            done += window[1] - window[0]
            on_progress(done, total, self._written)
        now = self._read_stored()
        return PullResult(
            rows_written=self._written,
            rows=None if now is None else len(now["ts_open"]),
            version=self._version,
            windows=len(windows),
            warnings=tuple(dict.fromkeys(self._warnings)),
            repaired=self._repaired,
        )

    def _tell(self, tell: Progress, done: int, total: int, rows: int, at: int) -> None:
        tell(min(total, done + at), total, self._written + rows)

    def _plan(self, span: Span, covered: list[Span], stored: BarColumns | None) -> list[Span]:
        """Windows to ask for, those next to stored bars first: adjusted prices need that."""
        if self._options.replace:
            return [span] if span[0] < span[1] else []
        pieces = [
            piece
            for missing in find_missing(span, covered)
            for piece in _cut(missing, self._options.window_bars * self._length)
        ]
        if stored is None:
            return pieces
        first = int(stored["ts_open"][0])
        before = [piece for piece in pieces if piece[0] < first]
        return [piece for piece in pieces if piece[0] >= first] + before[::-1]

    def _read_stored(self) -> BarColumns | None:
        """The dataset; None when there is none. Remembers its version, refuses another source."""
        for each in self._catalog.datasets():
            if (each.instrument, each.timeframe) == (self._instrument.id, self._timeframe):
                self._version = each.version
                if each.source != self._source.name and not self._options.replace:
                    raise DataError(
                        f"the catalog has these bars from {each.source!r}", where=self._where,
                        remedy="pull into another catalog and reconcile them, or replace",
                    )  # fmt: skip
                return self._catalog.read_bars(each.instrument, each.timeframe)
        return None

    def _pull_window(self, window: Span, on_page: Callable[[int, int], None]) -> int:
        """Commits the bars of one window; returns up to where it is known now."""
        stored = None if self._options.replace else self._read_stored()
        begin, end = self._with_overlap(window, stored)
        pages = gather(
            self._source.pages(self._instrument, self._timeframe, begin, end),
            lambda rows, last: on_page(rows, max(0, last - window[0])),
        )
        cutoff = self._cutoff()
        if pages is not None:
            pages = leave_out(
                pages, self._instrument, self._timeframe, (begin, end), cutoff, self._where
            )
        rows = 0 if pages is None else len(pages.lines)
        last = window[0]
        if pages is not None and rows:
            context = _context(stored, begin)
            options = ImportOptions(
                repairs=self._options.repairs,
                source=self._source.name,
                adjust_by="adjusted_close" if "adjusted_close" in pages.frame.columns else None,
            )
            table = prepend_stored(pages, context, self._instrument)
            result = check_bars(table, self._instrument, self._timeframe, options, ts_now=cutoff)
            columns = _from(result.columns, begin)
            self._note(result, columns, stored)
            if stored is not None:
                columns, told = match_stored(columns, stored, self._where)
                self._warnings += told
            self._write(columns)
            last = max(last, int(columns["ts_open"][-1]) + 1)
        if window[1] <= cutoff - SETTLED_NS:
            return window[1]
        return min(window[1], last)

    def _with_overlap(self, window: Span, stored: BarColumns | None) -> Span:
        """The window, and the stored bar next to it on either side: was it restated since?"""
        if stored is None:
            return window
        at, reach = stored["ts_open"], max(OVERLAP_NS, 20 * self._length)
        before = at[(at < window[0]) & (at >= window[0] - reach)]
        after = at[(at >= window[1]) & (at <= window[1] + reach)]
        return (
            int(before[-1]) if len(before) else window[0],
            int(after[0]) + 1 if len(after) else window[1],
        )

    def _cutoff(self) -> int:
        """Bars that close later are not over: by our clock and by the provider's."""
        now, server = self._clock_ns(), self._source.ts_server
        if server is not None and now - server > SKEW_NS and not self._skew_told:
            self._skew_told = True
            self._warnings.append(
                f"the clock here is {(now - server) / NS_PER_SECOND:,.0f} s ahead of that of "
                f"{self._source.name}: bars are taken when they are over by the earlier one"
            )
        return min(now, now if server is None else server) - self._options.settle_ns

    def _note(self, result: ImportResult, columns: BarColumns, stored: BarColumns | None) -> None:
        """Repairs, and gaps before bars that are not stored yet."""
        for repair, rows in result.repaired.items():
            self._repaired[repair.value] = self._repaired.get(repair.value, 0) + rows
        flagged = columns["ts_open"][(columns["quality"] & int(Quality.GAP_BEFORE)) != 0]
        if stored is not None:
            flagged = flagged[~np.isin(flagged, stored["ts_open"])]
        if len(flagged):
            at = to_iso(int(flagged[0]))
            self._warnings.append(f"{len(flagged)} gaps, the first before {at}")

    def _write(self, columns: BarColumns) -> None:
        outcome = self._catalog.write_bars(
            self._instrument.id,
            self._timeframe,
            columns,
            source=self._source.name,
            adjustment=self._source.adjustment,
            ts_ingest=self._clock_ns(),
            definition=self._instrument,
            replace=self._options.replace,
        )
        self._written += outcome.rows_written
        self._version = outcome.version


def _cut(span: Span, length: int) -> Iterator[Span]:
    """`span` in pieces that end on multiples of `length` since 1970."""
    at = span[0]
    while at < span[1]:
        end = min(span[1], (at // length + 1) * length)
        yield at, end
        at = end


def _context(stored: BarColumns | None, begin: int) -> BarColumns | None:
    """The last stored bars before `begin`."""
    if stored is None:
        return None
    stop = int(np.searchsorted(stored["ts_open"], begin))
    return slice_rows(stored, max(0, stop - CONTEXT_BARS), stop) if stop else None


def _from(columns: BarColumns, begin: int) -> BarColumns:
    start = int(np.searchsorted(columns["ts_open"], begin))
    return slice_rows(columns, start, len(columns["ts_open"]))
