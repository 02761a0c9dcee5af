"""`onetape data import-records`: records of many datasets from one file; and how to show them."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onetape.control.options import DEFAULT_CATALOG, CatalogOption, DebugOption, parse_pairs
from onetape.control.terminal import print_json, print_table
from onetape.domain.timestamps import NS_PER_DAY, to_iso

if TYPE_CHECKING:
    import numpy.typing as npt

    from onetape.marketdata.catalog import Catalog


class ListedKind(Enum):
    """What one file holds."""

    MEMBERSHIP = "membership"
    FUNDAMENTALS = "fundamentals"
    CORPORATE_ACTIONS = "corporate_actions"
    FUNDING = "funding"
    HALTS = "halts"


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
            "out); of fundamentals instrument, item, period_end, ts_known, value; of others as in "
            "the files that sessions read. Columns with usual names are found without.",
        ),
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace records of the same time that differ.")
    ] = False,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="The file holds all records of its datasets: remove others."),
    ] = False,
    catalog: CatalogOption = DEFAULT_CATALOG,
    _debug: DebugOption = False,
) -> None:
    """Check memberships, figures, corporate actions, funding or halts; add them to the catalog."""
    from onetape.marketdata import record_importer
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.stored_events import check_beside_stored

    ts_now = time.time_ns()
    store = Catalog(catalog)
    records = store.records
    chosen = record_importer.LISTED_KINDS[kind.value]
    found = record_importer.import_records(
        file, chosen, parse_pairs(column_map, "--map"), ts_now=ts_now
    )
    if not whole:
        for dataset, columns in found.items():
            check_beside_stored(store, chosen, dataset, columns)
    for dataset, columns in found.items():
        outcome = records.write(
            chosen, dataset, columns, source=file.name, ts_ingest=ts_now, replace=replace,
            whole=whole,
        )  # fmt: skip
        written = (
            f"{outcome.rows_written:,} rows written" if outcome.rows_written else "nothing new"
        )
        print(f"{dataset} {kind.value}: {written}, version {outcome.version}")
    unknown = sorted(set(found) - set(map(str, store.instruments())))
    if kind is not ListedKind.MEMBERSHIP and unknown:
        print(f"warning: the catalog has no bars of {', '.join(unknown)}: are the ids right?",
              file=sys.stderr)  # fmt: skip


def show_records(store: Catalog, dataset: str, name: str, rows: int, *, as_json: bool) -> None:
    """Tell what a dataset of records of the kind `name` is, with its first and last rows.

    There must be one.
    """
    from onetape.marketdata.record_kinds import to_record_kind

    kind = to_record_kind(name)
    facts = next(
        each for each in store.records.datasets() if (each.kind, each.dataset) == (name, dataset)
    )
    spans = [{"ts_end": facts.ts_first + NS_PER_DAY}, {"ts_start": facts.ts_last - NS_PER_DAY}]
    if not kind.by_day:
        spans = [{}, {}]
    head, tail = (_to_rows(store.records.read(kind, dataset, **span).columns) for span in spans)
    shown = head[:rows] + tail[-rows:][max(0, 2 * rows - facts.rows) :]
    if as_json:
        print_json({"dataset": facts, "rows": shown})
        return
    for label, text in (
        ("dataset", f"{dataset} {name}, version {facts.version}"),
        ("rows", f"{facts.rows:,}, {to_iso(facts.ts_first)} to {to_iso(facts.ts_last)}"),
        ("source", facts.source),
    ):
        print(f"{label:<11} {text}")
    print()
    print_table(tuple(shown[0]), [tuple(each.values()) for each in shown])


def _to_rows(columns: Mapping[str, npt.NDArray[Any]]) -> list[dict[str, str]]:
    cells = {name: [_cell(name, each) for each in column.tolist()]
             for name, column in columns.items()}  # fmt: skip
    return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]


def _cell(name: str, value: object) -> str:
    """A value for people: times as ISO text, nothing for what is not told."""
    if isinstance(value, int) and (name.startswith("ts_") or name == "session_close"):
        return to_iso(value)
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.10g}"
    return str(value)
