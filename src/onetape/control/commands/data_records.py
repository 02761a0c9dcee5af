"""`onetape data import-records`: memberships and figures of many datasets from one file."""

from __future__ import annotations

import time
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from onetape.control.options import DEFAULT_CATALOG, CatalogOption, DebugOption, parse_pairs


class ListedKind(Enum):
    """What one file holds."""

    MEMBERSHIP = "membership"
    FUNDAMENTALS = "fundamentals"


def import_records(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A .csv, .csv.gz, .json, .jsonl or .parquet file."),
    ],
    *,
    kind: Annotated[ListedKind, typer.Option(help="What the file holds.")],
    column_map: Annotated[
        str,
        typer.Option(
            "--map",
            metavar="COLUMN=ROLE,...",
            help="What columns are: of membership universe, instrument, ts, ts_known, value (in, "
            "out); of fundamentals instrument, item, period_end, ts_known, value. Columns with "
            "usual names are found without.",
        ),
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace records of the same time that differ.")
    ] = False,
    catalog: CatalogOption = DEFAULT_CATALOG,
    _debug: DebugOption = False,
) -> None:
    """Check who was in a universe, or published figures, and add them to the catalog."""
    from onetape.marketdata import record_importer
    from onetape.marketdata.catalog import Catalog

    ts_now = time.time_ns()
    records = Catalog(catalog).records
    chosen = record_importer.LISTED_KINDS[kind.value]
    found = record_importer.import_records(
        file, chosen, parse_pairs(column_map, "--map"), ts_now=ts_now
    )
    for dataset, columns in found.items():
        outcome = records.write(
            chosen, dataset, columns, source=file.name, ts_ingest=ts_now, replace=replace
        )
        written = (
            f"{outcome.rows_written:,} rows written" if outcome.rows_written else "nothing new"
        )
        print(f"{dataset} {kind.value}: {written}, version {outcome.version}")
