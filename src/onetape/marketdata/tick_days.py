"""Prints and quotes of one instrument, a UTC day at a time, as a session has them on its timeline.

Memory is that of one day. What stands at the end of a day (the best bid and ask, the mark) stands
at the begin of the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.market import QUOTES, TRADES
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import NS_PER_DAY, to_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.delta_table import list_files, open_table
from onetape.marketdata.record_kinds import RecordColumns, RecordKind, to_record_kind
from onetape.marketdata.tick_pieces import TickSeries
from onetape.marketdata.tick_timeline import read_rows
from onetape.marketdata.ticks import Standing
from onetape.marketdata.trades import add_bar_columns, complete_trades

Columns = Mapping[str, npt.NDArray[Any]]

BY_DAY = (TRADES, QUOTES, f"{QUOTES}+{TRADES}")
"""What can be read by day. A book can't: what stands of it is more than a row."""


class TickDay(msgspec.Struct, frozen=True, kw_only=True):
    """One day of ticks: days since 1970 (UTC), how many rows, and what `data` they are.

    `data` is 16 hex digits that change with any file of this day or one before it: files of the
    catalog never change, and a new one has a new name.
    """

    day: int
    rows: int
    data: str


class TickDays:
    """The days of one instrument, as the catalog had them when this was made.

    Args:
        catalog: Where they are.
        instrument_id: Whose.
        what: One of `BY_DAY`.

    Raises:
        DataError: There is no such instrument or no such ticks, or they can't be read by day.
    """

    def __init__(self, catalog: Catalog, instrument_id: str, what: str) -> None:
        if what not in BY_DAY:
            raise DataError(f"{what} can't be read by day", where=str(catalog.path),
                            remedy=f"one of {', '.join(BY_DAY)}")  # fmt: skip
        self.instrument = catalog.instrument(instrument_id)
        self._catalog = catalog
        self._what = what
        self._kinds = [to_record_kind(each) for each in what.split("+")]
        self.version = catalog.records.newest()
        self.days = self._list()

    def stream(self) -> Iterator[tuple[TickDay, Columns]]:
        """Each day with its rows: the columns of a session's timeline, in its order.

        Raises:
            DataError: They can't be rows of a session, such as a day that is known before the one
                before it.
        """
        known = -(2**63)
        standing = Standing(self.instrument)
        for day in self.days:
            rows = {kind: self._read(kind, day.day) for kind in self._kinds}
            columns = self._complete(rows, standing)
            ts_known = columns["ts_known"]
            if int(ts_known[0]) < known:
                raise DataError(
                    f"rows of {to_iso(int(columns['ts_event'][0]))} are known before earlier ones",
                    where=self.instrument.id,
                    remedy="give prints the same publication delay as the quotes",
                )
            known = int(ts_known[-1])
            yield day, columns

    def _complete(self, rows: Mapping[RecordKind, RecordColumns], standing: Standing) -> Columns:
        if self._what == TRADES:
            return add_bar_columns(complete_trades(rows[RecordKind.TRADES], self.instrument.id))
        records = [
            TickSeries(self.instrument, kind.value, rows[kind])
            for kind in (RecordKind.TRADES, RecordKind.QUOTES)
            if kind in rows
        ]
        pieces = list(read_rows(records, max(map(len, records)), standing))
        return {name: np.concatenate([each[name] for each in pieces]) for name in pieces[0]}

    def _read(self, kind: RecordKind, day: int) -> RecordColumns:
        read = self._catalog.records.read(
            kind, self.instrument.id, version=self.version, ts_start=day * NS_PER_DAY,
            ts_end=(day + 1) * NS_PER_DAY,
        )  # fmt: skip
        return {name: column for name, column in read.columns.items() if name != "quality"}

    def _list(self) -> tuple[TickDay, ...]:
        import polars as pl

        records, name = self._catalog.records, self.instrument.id
        known = [f"{each.dataset} {each.kind}" for each in records.datasets(self.version)]
        for kind in self._kinds:
            if f"{name} {kind.value}" not in known:
                raise DataError(
                    f"there are no {kind.value} of {name} in the catalog",
                    where=str(self._catalog.path), remedy=nearest(f"{name} {kind.value}", known),
                )  # fmt: skip
        table = open_table(records.path, self.version)
        if table is None:  # then nothing above was known
            return ()
        files = (
            list_files(table, records.path)
            .filter(
                pl.col("partition.kind").is_in([each.value for each in self._kinds])
                & (pl.col("partition.dataset") == name)
            )
            .select(
                pl.col("partition.day").cast(pl.Int64).alias("day"),
                pl.col("partition.kind").alias("kind"),
                pl.col("file").str.split("/").list.last(),
                "num_records",
            )
        )
        days: list[TickDay] = []
        data = self._what
        for (day,), group in files.sort("day", "kind", "file").group_by("day", maintain_order=True):
            text = "\n".join([data, *map(str, group.select("kind", "file").rows())])
            data = hashlib.sha256(text.encode()).hexdigest()[:16]
            rows = int(group["num_records"].sum())
            days.append(TickDay(day=int(str(day)), rows=rows, data=data))
        return tuple(days)
