"""Which times of a dataset were pulled from its provider: also those where it had no bars.

The catalog's table `coverage` has one row for each stretch of time: `instrument`, `timeframe`,
`source`, `ts_from`, `ts_to` (ns UTC of the opens of bars, half open). It is written after the bars
that it speaks of, so a kill in between loses a note, never a bar.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from onetape.marketdata.delta_table import (
    commit,
    list_files,
    open_table,
    quote_text,
    read_files,
    retry_when_raced,
)

Span = tuple[int, int]
"""From, up to but not including; ns UTC."""

_COLUMNS = ("instrument", "timeframe", "source", "ts_from", "ts_to")


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """The same times as spans that neither touch nor overlap, in order; empty ones are left out."""
    merged: list[Span] = []
    for begin, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def find_missing(wanted: Span, covered: Iterable[Span]) -> list[Span]:
    """The parts of `wanted` that no span of `covered` holds, in order."""
    missing: list[Span] = []
    at = wanted[0]
    for begin, end in merge_spans(covered):
        if begin > at:
            missing.append((at, min(begin, wanted[1])))
        at = max(at, end)
    missing.append((at, wanted[1]))
    return [span for span in missing if span[0] < span[1]]


class Coverage:
    """The table `coverage` of a catalog."""

    def __init__(self, catalog: Path) -> None:
        self._path = catalog / "coverage"

    def read(self, instrument: str, timeframe: str, source: str) -> list[Span]:
        """What of a dataset was pulled from `source`.

        Raises:
            DataError: The table is damaged.
        """
        import polars as pl

        table = open_table(self._path)
        if table is None:
            return []
        files = list_files(table, self._path).filter(
            (pl.col("partition.instrument") == instrument)
            & (pl.col("partition.timeframe") == timeframe)
        )["file"]
        if files.is_empty():
            return []
        rows = read_files(files.to_list(), ("source", "ts_from", "ts_to"), self._path)
        return [
            (begin, end)
            for begin, end in rows.filter(source=source).select("ts_from", "ts_to").rows()
        ]

    def write(self, instrument: str, timeframe: str, source: str, spans: Iterable[Span]) -> None:
        """These spans are all that was pulled of a dataset; other sources' are forgotten.

        Raises:
            TryAgain: Others wrote at the same time, again and again.
        """
        import polars as pl

        rows = [(instrument, timeframe, source, *span) for span in merge_spans(spans)]
        frame = pl.DataFrame(rows, schema=dict(zip(_COLUMNS, _TYPES, strict=True)), orient="row")
        where = f"instrument = {quote_text(instrument)} AND timeframe = {quote_text(timeframe)}"

        def write() -> None:
            table = open_table(self._path)
            commit(
                self._path,
                table,
                frame,
                partition_by=("timeframe", "instrument"),
                replace_where=where if table is not None else None,
            )

        retry_when_raced(write)


_TYPES = (str, str, str, int, int)
