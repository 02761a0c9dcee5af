"""`onetape features`: list, build, check and show features."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.control.options import DebugOption, JsonOption
from onetape.control.terminal import print_json, print_table
from onetape.domain.errors import ConfigError, StrategyError
from onetape.domain.timestamps import from_iso, to_iso

if TYPE_CHECKING:
    from onetape.features.registry import FeatureDefinition, FeatureRegistry
    from onetape.features.store import FeatureStore
    from onetape.features.store.columns import KnownValue
    from onetape.research.feature_report import FeatureReport

app = typer.Typer(help="List, build, check and show features.", no_args_is_help=True)

FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="A Python file that makes a FeatureRegistry, or a strategy's."
    ),
]
CatalogOption = Annotated[
    Path, typer.Option("--catalog", metavar="DIR", help="Directory of the catalog.")
]
TimeframeOption = Annotated[
    str,
    typer.Option(
        "--timeframe",
        metavar="TF",
        help="Length of the bars: 1m, 1h, 1d; or trades, quotes, quotes+trades.",
    ),
]
InstrumentsOption = Annotated[
    list[str] | None,
    typer.Option("--instrument", metavar="ID", help="One of the catalog; may be repeated."),
]
DEFAULT_CATALOG = Path("data/catalog")


@app.command("list")
def list_(
    file: FileArgument,
    *,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Draw the lineage as a page.")
    ] = None,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """List the features of a file, and what each is made of."""
    from onetape.features.formula import render_formula
    from onetape.features.lineage import draw_lineage, trace_lineage

    registry = _load(file)
    nodes = trace_lineage(registry)
    if html is not None:
        from onetape.research.lineage_page import render_lineage_page

        html.write_text(render_lineage_page(nodes, f"Features of {file.name}"), encoding="utf-8")
    rows = [_describe(registry, each) for each in registry]
    if as_json:
        print_json({"features": rows, "lineage": nodes})
        return
    headers = ("feature", "version", "definition", ">first value at bar", "range", "registered at")
    cells = [
        (
            str(row["feature"]),
            str(row["version"]),
            render_formula(each.estimator),
            f"{row['warm_up']:,}",
            _range(each),
            _short(each.place),
        )
        for row, each in zip(rows, registry, strict=True)
    ]
    print_table(headers, cells)
    print()
    print(draw_lineage(nodes))


@app.command()
def build(
    file: FileArgument,
    *,
    timeframe: TimeframeOption,
    catalog: CatalogOption = DEFAULT_CATALOG,
    instrument: InstrumentsOption = None,
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", metavar="NAME", help="Only this one; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Compute features over the bars or ticks of a catalog and store them beside these."""
    store = _open(_load(file), catalog, timeframe)
    columns = store.build(
        feature or [each.key for each in store.registry], _symbols(store, instrument)
    )
    rows = [
        {
            "feature": each.name,
            "instrument": each.instrument,
            "version": each.version,
            "rows": each.rows,
            "nan": each.nan_rows,
            "was_stored": each.was_stored,
        }
        for each in columns
    ]
    if as_json:
        print_json(rows)
        return
    cells = [
        (str(row["feature"]), str(row["instrument"]), str(row["version"]), f"{row['rows']:,}",
         f"{row['nan']:,}", "stored before" if row["was_stored"] else "computed")
        for row in rows
    ]  # fmt: skip
    print_table(("feature", "instrument", "version", ">rows", ">NaN", ""), cells)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A feature, or NAME@VERSION.")],
    file: FileArgument,
    *,
    timeframe: TimeframeOption,
    catalog: CatalogOption = DEFAULT_CATALOG,
    instrument: InstrumentsOption = None,
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="As it was known then: ISO 8601, UTC.")
    ] = "",
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Show a feature's newest values, and in which versions the catalog holds it."""
    store = _open(_load(file), catalog, timeframe)
    time = from_iso(at, "--at", error=ConfigError) if at else 2**63 - 1
    symbols = _symbols(store, instrument)
    values = {each: store.newest(name, each, time) for each in symbols}
    bare = name.partition("@")[0]
    known = [each for each in store.tables.definitions() if each.name == bare]
    stored = store.stored()
    versions = [
        {
            "version": f"{each.name}@{each.number}",
            "definition": each.definition,
            "columns": sum(version == each.definition for version, _ in stored),
            "rows": sum(rows for version, rows in stored if version == each.definition),
        }
        for each in known
    ]
    shown = {
        symbol: None if math.isnan(known.value) else known.value for symbol, known in values.items()
    }
    if as_json:
        print_json({"feature": name, "values": shown, "stored": versions})
        return
    rows = [
        (symbol, _when(values[symbol]), "none yet" if value is None else f"{value:.10g}")
        for symbol, value in shown.items()
    ]
    print_table(("instrument", "known at", f">{name}"), rows)
    if versions:
        print()
        cells = [
            (str(row["version"]), str(row["definition"]), f"{row['columns']:,}", f"{row['rows']:,}")
            for row in versions
        ]
        print_table(("stored version", "definition", ">columns", ">rows"), cells)


@app.command()
def check(
    file: FileArgument,
    *,
    timeframe: TimeframeOption,
    catalog: CatalogOption = DEFAULT_CATALOG,
    instrument: InstrumentsOption = None,
    stationarity: Annotated[
        bool, typer.Option("--stationarity", help="Also ADF and KPSS (onetape[research]).")
    ] = False,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Check features: names, types, ranges, NaN, and the same bits on every prefix and host."""
    from onetape.research.feature_report import check_features

    store = _open(_load(file), catalog, timeframe)
    report = check_features(store, _symbols(store, instrument), stationarity=stationarity)
    if as_json:
        print_json(report)
    else:
        _print_report(report, stationarity=stationarity)
    if report.findings:
        raise typer.Exit(StrategyError.exit_code)


def _print_report(report: FeatureReport, *, stationarity: bool) -> None:
    headers = ["feature", "instrument", ">rows", ">NaN", ">least", ">median", ">greatest",
               ">stability"]  # fmt: skip
    if stationarity:
        headers += [">ADF p", ">KPSS p"]
    rows = [
        [
            each.feature, each.instrument, f"{each.rows:,}", f"{each.nan_ratio:.2%}",
            *(f"{value:.5g}" for value in (each.low, each.median, each.high)),
            f"{each.stability:.3f}",
            *([f"{each.adf:.3f}", f"{each.kpss:.3f}"] if stationarity else []),
        ]
        for each in report.columns
    ]  # fmt: skip
    if rows:
        print_table(headers, rows)
        print()
        print("stability: up to 0.1 stable, from 0.25 on another distribution in a later quarter")
        if stationarity:
            print("stationary: ADF p below 0.05 and KPSS p above it")
    for finding in report.findings:
        print(finding)
    if not report.findings:
        print(f"{len({each.feature for each in report.columns})} features: ok")


def _load(file: Path) -> FeatureRegistry:
    """The registry of a file; of a strategy's file, the features of its strategy.

    Raises:
        DataError: The file can't be read.
        StrategyError: It has no features, or they are wrong.
    """
    from onetape.features.registry import FeatureRegistry
    from onetape.features.store.feature_file import load_features

    registry = load_features(file)
    if registry is None:
        from onetape.strategy.registry import load_strategy

        registry = FeatureRegistry()
        for name, feature in load_strategy(file.stem, str(file))().features().items():
            registry.add(name, feature, place=str(file))
    if not list(registry):
        raise StrategyError("has no features", where=str(file),
                            remedy="make a FeatureRegistry and add some")  # fmt: skip
    return registry


def _open(registry: FeatureRegistry, catalog: Path, timeframe: str) -> FeatureStore:
    from onetape.features.store import FeatureStore
    from onetape.marketdata.catalog import Catalog

    for problem in registry.check():
        raise problem
    return FeatureStore(registry, Catalog(catalog), timeframe)


def _symbols(store: FeatureStore, given: list[str] | None) -> list[str]:
    if given:
        return given
    found = store.symbols()
    if not found:
        what = store.timeframe if store.is_of_ticks else f"{store.timeframe} bars"
        raise ConfigError(
            f"there are no {what}", where=str(store.catalog.path),
            remedy="give --catalog and --timeframe as onetape data list tells them",
        )  # fmt: skip
    return found


def _describe(registry: FeatureRegistry, definition: FeatureDefinition) -> dict[str, object]:
    feature = registry.resolve(definition.key)
    return {
        "feature": definition.key,
        "version": feature.version,
        "inputs": feature.inputs,
        "warm_up": feature.warm_up,
        "low": None if math.isinf(definition.low) else definition.low,
        "high": None if math.isinf(definition.high) else definition.high,
        "place": definition.place,
    }


def _range(definition: FeatureDefinition) -> str:
    low, high = definition.low, definition.high
    if math.isinf(low) and math.isinf(high):
        return "any"
    if math.isinf(high):
        return f"{low:g} and up"
    return f"up to {high:g}" if math.isinf(low) else f"{low:g} to {high:g}"


def _short(place: str) -> str:
    return place.replace("\\", "/").rpartition("/")[2]


def _when(known: KnownValue) -> str:
    return "" if known.ts_known is None else to_iso(known.ts_known)
