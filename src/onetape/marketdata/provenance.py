"""Which provider each value of a resolved series came from, beside the bars in the catalog.

The table `provenance` has one row for each bar: `instrument`, `timeframe`, `version` (of the bars
that it speaks of), `ts_open`, the provider of `open`, `high`, `low`, `close` and `volume`, and
`disagreed`, the fields of which some provider said something else, parted by commas.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.market import BAR_FLOAT_COLUMNS
from onetape.marketdata.delta_table import (
    commit,
    list_files,
    open_table,
    read_files,
    retry_when_raced,
)

if TYPE_CHECKING:
    import polars as pl

    from onetape.marketdata.reconciliation import Reconciled

COLUMNS = ("ts_open", *BAR_FLOAT_COLUMNS, "disagreed")


def make_provenance(result: Reconciled) -> pl.DataFrame:
    """`COLUMNS` of each bar of a resolved series."""
    import polars as pl

    names = np.array(result.names)
    fields = [
        np.where(result.disagrees[field], f"{field},", "") for field in BAR_FLOAT_COLUMNS
    ]  # fmt: skip
    disagreed = [text.rstrip(",") for text in map("".join, zip(*fields, strict=True))]
    return pl.DataFrame(
        {
            "ts_open": result.columns["ts_open"],
            **{field: names[result.chosen[field]] for field in BAR_FLOAT_COLUMNS},
            "disagreed": pl.Series(disagreed, dtype=pl.String),
        }
    )


def write_provenance(
    catalog: Path, instrument: str, timeframe: str, version: int, rows: pl.DataFrame
) -> None:
    """Adds the provenance of the bars that `version` of the table `bars` has.

    Raises:
        TryAgain: Others wrote at the same time, again and again.
    """
    import polars as pl

    frame = rows.with_columns(
        instrument=pl.lit(instrument), timeframe=pl.lit(timeframe), version=pl.lit(version)
    )
    path = catalog / "provenance"
    retry_when_raced(
        lambda: commit(path, open_table(path), frame, partition_by=("timeframe", "instrument"))
    )


def read_provenance(catalog: Path, instrument: str, timeframe: str, version: int) -> pl.DataFrame:
    """`COLUMNS` of each bar of a dataset as `version` has it.

    Raises:
        DataError: That version was not resolved from several providers.
    """
    import polars as pl

    path = catalog / "provenance"
    table = open_table(path)
    rows = None
    if table is not None:
        files = list_files(table, path).filter(
            (pl.col("partition.instrument") == instrument)
            & (pl.col("partition.timeframe") == timeframe)
            & (pl.col("max.version") == version)
        )["file"]
        rows = None if files.is_empty() else read_files(files.to_list(), COLUMNS, path)
    if rows is None:
        raise DataError(f"version {version} of {instrument} {timeframe} has no provenance by value",
                        where=str(catalog),
                        remedy="it is of one source: onetape data show")  # fmt: skip
    return rows.sort("ts_open")
