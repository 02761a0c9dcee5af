"""The catalog: reading bars beside polars reading the same files, and aggregating them."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from onetape.domain.instrument import InstrumentId
from onetape.marketdata.aggregation import aggregate
from onetape.marketdata.bar_rule import parse_bar_rule
from onetape.marketdata.bars import BAR_COLUMNS, BarColumns
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.delta_table import commit
from onetape.marketdata.pieces import bars_as_pieces

MINUTES_OF_A_YEAR = 390 * 252
SYMBOLS = 500
DAYS_OF_TEN_YEARS = 2_520
_MINUTE = 60_000_000_000
_DAY = 86_400_000_000_000


class DataSpeed(NamedTuple):
    """Milliseconds of ours, of polars on the same files (NaN without it), and the most allowed."""

    name: str
    ours: float
    polars: float
    limit: float


def make_series(rows: int, step: int, per_session: int) -> BarColumns:
    """Bars of a random walk; after `per_session` of them a night goes by."""
    chance = np.random.default_rng(1)
    number = np.arange(rows)
    ts_open = 1_600_000_000_000_000_000 + number // per_session * _DAY + number % per_session * step
    close = 100 * np.exp(np.cumsum(chance.normal(0, 1e-3, rows)))
    open_ = np.concatenate([[100.0], close[:-1]])
    ts_close = ts_open + step
    session = ts_close[np.minimum((number // per_session + 1) * per_session, rows) - 1]
    return {
        "ts_open": ts_open, "ts_close": ts_close, "ts_known": ts_close, "session_close": session,
        "quality": np.zeros(rows, dtype=np.int64), "open": open_,
        "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close,
        "volume": chance.integers(1, 1_000, rows).astype(np.float64),
    }  # fmt: skip


def _median_ms(run: Callable[[], object], runs: int) -> float:
    seconds: list[float] = []
    run()
    for _ in range(runs):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return 1_000 * statistics.median(seconds)


def _write_many(catalog: Catalog) -> list[str]:
    """500 symbols of daily bars in one commit; one commit each would take minutes."""
    bars = make_series(DAYS_OF_TEN_YEARS, _DAY, 1)
    names = [f"S{number:03}.SIM" for number in range(SYMBOLS)]
    frame = pl.DataFrame(bars).with_columns(
        timeframe=pl.lit("1d"), source=pl.lit("made"), adjustment=pl.lit("none"),
        ts_ingest=pl.lit(0, pl.Int64), version=pl.lit(0, pl.Int64),
    )  # fmt: skip
    whole = pl.concat([frame.with_columns(instrument=pl.lit(name)) for name in names])
    commit(catalog.path / "bars", None, whole, partition_by=("timeframe", "instrument"))
    return names


def run_data(runs: int) -> list[DataSpeed]:
    """Reads and aggregates; files are in the page cache."""
    with tempfile.TemporaryDirectory() as folder:
        year, many = Catalog(Path(folder) / "year"), Catalog(Path(folder) / "many")
        minutes = make_series(MINUTES_OF_A_YEAR, _MINUTE, 390)
        year.write_bars(InstrumentId("A.SIM"), "1m", minutes, source="made", adjustment="none",
                        ts_ingest=0)  # fmt: skip
        names = _write_many(many)

        def read_polars(catalog: Catalog) -> pl.DataFrame:
            files = list((catalog.path / "bars").rglob("*.parquet"))
            return pl.read_parquet(files, columns=list(BAR_COLUMNS), hive_partitioning=False)

        calendar = build_calendar("24/7")
        rule = parse_bar_rule("1d")
        frame = pl.DataFrame(minutes).with_columns(ts=pl.col("ts_open").cast(pl.Datetime("ns")))

        def aggregate_polars() -> pl.DataFrame:
            return frame.group_by_dynamic("ts", every="1d").agg(
                pl.col("open").first(), pl.col("high").max(), pl.col("low").min(),
                pl.col("close").last(), pl.col("volume").sum(),
            )  # fmt: skip

        return [
            DataSpeed("read 1 year of minutes of one symbol",
                      _median_ms(lambda: year.read_bars("A.SIM", "1m"), runs),
                      _median_ms(lambda: read_polars(year), runs), 50),
            DataSpeed("read 500 symbols x 10 years of days",
                      _median_ms(lambda: many.read_many(names, "1d"), runs),
                      _median_ms(lambda: read_polars(many), runs), 500),
            DataSpeed("aggregate a year of minutes to days",
                      _median_ms(lambda: aggregate(bars_as_pieces(minutes, "A"), rule, calendar),
                                 runs), _median_ms(aggregate_polars, runs), 100),
        ]  # fmt: skip


def print_data(results: list[DataSpeed]) -> None:
    """One line each."""
    print(f"{'catalog':<48}{'ms':>10}{'at most':>10}{'polars':>10}{'ratio':>8}")
    for each in results:
        print(f"{each.name:<48}{each.ours:>10.1f}{each.limit:>10g}{each.polars:>10.1f}"
              f"{each.ours / each.polars:>8.1f}")  # fmt: skip
