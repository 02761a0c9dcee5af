"""Features: a column beside TA-Lib and polars in one run, and one update, compiled and in Python.

All figures are CPU time of this process (user and system), so another process on the machine costs
less of them. In each round ours, TA-Lib's and polars' function run one after the other; a ratio is
the median over the rounds.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import talib
from numba import njit

from onetape.features import (
    AccumulationDistribution,
    Adx,
    Atr,
    Autocorrelation,
    BarsSinceMax,
    Beta,
    Bollinger,
    Cci,
    ChaikinOscillator,
    Correlation,
    Dema,
    Donchian,
    Ema,
    Estimator,
    FastStochastic,
    GarmanKlassVolatility,
    Hurst,
    Kama,
    Keltner,
    Kurtosis,
    LogReturn,
    Macd,
    Median,
    Mfi,
    Momentum,
    Obv,
    ParkinsonVolatility,
    RateOfChange,
    RealizedVolatility,
    RollingMax,
    RollingStd,
    RollingVariance,
    Rsi,
    SessionVwap,
    Skewness,
    Sma,
    Stochastic,
    Tema,
    TrendRegime,
    TrueRange,
    VolatilityRegime,
    Vwap,
    WilliamsR,
    Wma,
    YangZhangVolatility,
    ZScore,
)
from onetape.features.columns import select_inputs
from onetape.features.compiled import PackedState, advance, compute_column_compiled
from onetape.features.estimator import Expression

Column = npt.NDArray[Any]
Compute = Callable[[], object]
Case = tuple[Estimator, Compute | None, Compute | None]

BATCH_ROWS = 1_000_000
LIVE_ROWS = 20_000
BLOCK = 100
WINDOW = 20
WINDOWS = (5, 20, 100, 500)


class FeatureSpeed(NamedTuple):
    """Nanoseconds of CPU a bar: our compiled column and those of others, an update of a live form.

    `by_talib` and `by_polars` are how many times ours is as fast; NaN where they have none.
    """

    name: str
    ours: float
    talib: float
    by_talib: float
    polars: float
    by_polars: float
    live_compiled: float
    live: float


def make_bars(rows: int) -> dict[str, Column]:
    """A random walk of minutes, 390 to a session."""
    rng = np.random.default_rng(7)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, rows)))
    open_ = np.roll(close, 1)
    open_[0] = close[0]
    return {
        "open": open_,
        "high": np.maximum(open_, close) * (1 + 1e-3 * rng.random(rows)),
        "low": np.minimum(open_, close) * (1 - 1e-3 * rng.random(rows)),
        "close": close,
        "volume": rng.exponential(1000.0, rows),
        "session_close": 1.7e18 + np.arange(rows) // 390 * 86_400e9,
    }


def list_cases(bars: dict[str, Column], n: int) -> list[Case]:
    """Each feature with TA-Lib's and polars' function of it, where they have one."""
    h, l, c, v = (bars[name] for name in ("high", "low", "close", "volume"))  # noqa: E741
    close, volume = pl.Series(c), pl.Series(v)
    both = pl.DataFrame({"c": close, "v": volume}).lazy()
    return [
        (Sma(n), lambda: talib.SMA(c, n), lambda: close.rolling_mean(n)),
        (Wma(n), lambda: talib.WMA(c, n), None),
        (RollingVariance(n), lambda: talib.VAR(c, n), lambda: close.rolling_var(n)),
        (RollingStd(n), lambda: talib.STDDEV(c, n), lambda: close.rolling_std(n)),
        (ZScore(n), None, None),
        (Bollinger(n, 2.0, "upper"), lambda: talib.BBANDS(c, n), None),
        (RollingMax(n), lambda: talib.MAX(c, n), lambda: close.rolling_max(n)),
        (BarsSinceMax(n), lambda: talib.MAXINDEX(c, n), None),
        (Donchian(n), lambda: talib.MIDPRICE(h, l, n), None),
        (FastStochastic(n), lambda: talib.STOCHF(h, l, c, n, 1), None),
        (Stochastic(n, 3, 3, "d"), lambda: talib.STOCH(h, l, c, n, 3, slowd_period=3), None),
        (WilliamsR(n), lambda: talib.WILLR(h, l, c, n), None),
        (Cci(n), lambda: talib.CCI(h, l, c, n), None),
        (Mfi(n), lambda: talib.MFI(h, l, c, v, n), None),
        (Vwap(n), None, None),
        (Median(n), None, lambda: close.rolling_median(n)),
        (Skewness(n), None, lambda: close.rolling_skew(n)),
        (Kurtosis(n), None, lambda: close.rolling_kurtosis(n)),
        (
            Correlation(n),
            lambda: talib.CORREL(c, v, n),
            lambda: both.select(pl.rolling_corr("c", "v", window_size=n)).collect(),
        ),
        (Beta(n), lambda: talib.BETA(v, c, n), None),
        (Autocorrelation(n), None, None),
        (RealizedVolatility(n), None, None),
        (ParkinsonVolatility(n), None, None),
        (GarmanKlassVolatility(n), None, None),
        (YangZhangVolatility(n), None, None),
        (Hurst(100), None, None),
        (Momentum(n), lambda: talib.MOM(c, n), lambda: close.diff(n)),
        (RateOfChange(n), lambda: talib.ROC(c, n), lambda: close.pct_change(n)),
        (LogReturn(), None, lambda: close.log().diff()),
        (Ema(n), lambda: talib.EMA(c, n), lambda: close.ewm_mean(span=n, adjust=False)),
        (Dema(n), lambda: talib.DEMA(c, n), None),
        (Tema(n), lambda: talib.TEMA(c, n), None),
        (Kama(n), lambda: talib.KAMA(c, n), None),
        (Macd(12, 26, 9, "histogram"), lambda: talib.MACD(c, 12, 26, 9), None),
        (Rsi(n), lambda: talib.RSI(c, n), None),
        (TrueRange(), lambda: talib.TRANGE(h, l, c), None),
        (Atr(n), lambda: talib.ATR(h, l, c, n), None),
        (Adx(n), lambda: talib.ADX(h, l, c, n), None),
        (Keltner(n, 10, 2.0, "upper"), None, None),
        (Obv(), lambda: talib.OBV(c, v), None),
        (AccumulationDistribution(), lambda: talib.AD(h, l, c, v), None),
        (ChaikinOscillator(), lambda: talib.ADOSC(h, l, c, v), None),
        (SessionVwap(), None, None),
        (TrendRegime(n), None, None),
        (VolatilityRegime(n, max(250, 2 * n)), None, None),
        (Ema(12) - Ema(26), None, None),
    ]  # fmt: skip


def measure_rounds(computes: list[Compute | None], runs: int) -> list[list[float]]:
    """Nanoseconds a bar of each in each of `runs` rounds after one that is not counted."""
    rounds: list[list[float]] = []
    for _ in range(runs + 1):
        found: list[float] = []
        for compute in computes:
            begun = time.process_time()
            if compute is not None:
                compute()
            spent = time.process_time() - begun
            found.append(float("nan") if compute is None else spent / BATCH_ROWS * 1e9)
        rounds.append(found)
    return rounds[1:]


def measure_live(feature: Estimator, bars: dict[str, Column]) -> float:
    """Nanoseconds an update in Python: the median block of 100."""
    columns = [bars[name][:LIVE_ROWS].tolist() for name in feature.inputs]
    running = feature.start()
    seconds: list[float] = []
    for first in range(0, LIVE_ROWS, BLOCK):
        block = list(zip(*(each[first : first + BLOCK] for each in columns), strict=True))
        begun = time.process_time()
        for bar in block:
            running.update(*bar)
        seconds.append(time.process_time() - begun)
    return statistics.median(seconds) / BLOCK * 1e9


@njit(cache=True, nogil=True)
def move_events(state: Any, inputs: tuple[Column, ...], out: Column) -> None:
    """Event by event, as in a compiled loop: the state is a record in memory and stays there."""
    row = 0
    for values in zip(*inputs):  # noqa: B905  (Numba knows no `strict`)
        out[row] = advance(state, *values)
        row += 1  # noqa: SIM113  (`enumerate` over a star-zip does not compile)


def measure_live_compiled(feature: Estimator, bars: dict[str, Column]) -> float:
    """Nanoseconds an event costs in compiled code: the median block of 100, calls included.

    A feature of features costs what its parts cost, one after the other.
    """
    inputs = select_inputs("it", feature, bars)
    if not isinstance(feature, Expression):
        return _measure_events(feature, inputs)
    columns = [each[:LIVE_ROWS] for each in inputs]
    total = 0.0
    for node in feature.plan.nodes:
        used = tuple(columns[at] for at in node.sources)
        total += _measure_events(node.estimator, used)
        columns.append(compute_column_compiled(node.estimator, used))
    return total


def _measure_events(feature: Estimator, inputs: tuple[Column, ...]) -> float:
    state, out = PackedState(feature), np.empty(BLOCK)
    blocks = [
        tuple(each[first : first + BLOCK] for each in inputs)
        for first in range(0, LIVE_ROWS, BLOCK)
    ]
    move_events(PackedState(feature), blocks[0], out)  # compiles
    seconds: list[float] = []
    for block in blocks:
        begun = time.perf_counter()
        move_events(state, block, out)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds) / BLOCK * 1e9


def name_feature(feature: Estimator) -> str:
    """Its class and parameters."""
    if type(feature).__name__ == "Composed":
        return "Ema(12) - Ema(26)"
    fields = [each for each in feature.__struct_fields__ if each != "inputs"]
    return f"{type(feature).__name__}({', '.join(str(getattr(feature, each)) for each in fields)})"


def run_features(runs: int) -> list[FeatureSpeed]:
    """Every feature on the same random walk."""
    bars = make_bars(BATCH_ROWS)
    results: list[FeatureSpeed] = []
    for feature, by_talib, by_polars in list_cases(bars, WINDOW):
        rounds = measure_rounds([make_compute(feature, bars), by_talib, by_polars], runs)
        ours, talibs, polars = zip(*rounds, strict=True)
        results.append(
            FeatureSpeed(
                name_feature(feature),
                statistics.median(ours),
                statistics.median(talibs),
                statistics.median(b / a for a, b in zip(ours, talibs, strict=True)),
                statistics.median(polars),
                statistics.median(b / a for a, b in zip(ours, polars, strict=True)),
                measure_live_compiled(feature, bars),
                measure_live(feature, bars),
            )
        )
    return results


def make_compute(feature: Estimator, bars: dict[str, Column]) -> Compute:
    """Its compiled column."""
    inputs = select_inputs("it", feature, bars)
    return lambda: compute_column_compiled(feature, inputs)


def run_windows(runs: int) -> dict[str, list[float]]:
    """How many times TA-Lib takes, by feature that has a window, for each of `WINDOWS`."""
    bars = make_bars(BATCH_ROWS)
    shown = {name_feature(each) for each, _, _ in list_cases(bars, WINDOW + 1)}
    found: dict[str, list[float]] = {}
    for window in WINDOWS:
        for feature, by_talib, _ in list_cases(bars, window):
            if by_talib is None or name_feature(feature) in shown:  # no window of ours
                continue
            rounds = measure_rounds([make_compute(feature, bars), by_talib], runs)
            ratio = statistics.median(theirs / ours for ours, theirs in rounds)
            found.setdefault(type(feature).__name__, []).append(ratio)
    return found


def print_features(results: list[FeatureSpeed]) -> None:
    """One line a feature; a ratio above 1 says that ours is faster."""
    print(f"{'features, ns of CPU a bar':<40}{'compiled':>10}{'TA-Lib':>10}{'ratio':>8}"
          f"{'polars':>10}{'ratio':>8}{'live comp.':>12}{'live Python':>12}")  # fmt: skip
    for each in results:
        print(f"{each.name:<40}{each.ours:>10.1f}{each.talib:>10.1f}"
              f"{each.by_talib:>8.2f}{each.polars:>10.1f}{each.by_polars:>8.2f}"
              f"{each.live_compiled:>12,.0f}{each.live:>12,.0f}".replace("nan", "  -"))  # fmt: skip


def print_windows(results: dict[str, list[float]]) -> None:
    """One line a feature, one ratio a window."""
    print(f"\n{'TA-Lib / ours, by window':<40}" + "".join(f"{each:>10}" for each in WINDOWS))
    for name, ratios in results.items():
        print(f"{name:<40}" + "".join(f"{each:>10.2f}" for each in ratios))


METHOD = Path(__file__).with_name("features_method.md")


def make_page(results: list[FeatureSpeed], by_window: dict[str, list[float]], runs: int) -> str:
    """`FEATURES.md`: the tables and how they are measured."""
    rows = [
        f"| {each.name} | {each.ours:.2f} | {each.talib:.2f} | {each.by_talib:.2f} | "
        f"{each.polars:.2f} | {each.by_polars:.2f} | {each.live_compiled:,.0f} | {each.live:,.0f} |"
        .replace("nan", "")
        for each in results
    ]  # fmt: skip
    return "\n".join([
        "# Features beside TA-Lib and polars",
        "",
        "Written by `python -m benchmarks.features --markdown benchmarks/FEATURES.md`; don't edit.",
        "",
        f"{BATCH_ROWS:,} bars, medians of {runs} rounds, Python {platform.python_version()}, "
        f"TA-Lib {talib.__version__}, polars {pl.__version__}. Nanoseconds of CPU a bar; a ratio "
        "is how many times the other one takes.",
        "",
        "| feature | compiled | TA-Lib | ratio | polars | ratio | live, compiled | live, Python |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
        *rows,
        "",
        "The ratio to TA-Lib by the length of the window:",
        "",
        f"| feature | {' | '.join(map(str, WINDOWS))} |",
        f"| --- |{' --: |' * len(WINDOWS)}",
        *(
            f"| {name} | {' | '.join(f'{each:.2f}' for each in ratios)} |"
            for name, ratios in by_window.items()
        ),
        "",
        METHOD.read_text(encoding="utf-8"),
    ])  # fmt: skip


def main() -> None:
    """Run everything, print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.features", description=__doc__)
    parser.add_argument("--runs", type=int, default=9, help="counted rounds (medians are told)")
    parser.add_argument("--markdown", type=Path, help="also write the page here")
    given = parser.parse_args()
    results, by_window = run_features(given.runs), run_windows(given.runs)
    print_features(results)
    print_windows(by_window)
    if given.markdown is not None:
        given.markdown.write_text(make_page(results, by_window, given.runs), encoding="utf-8")


if __name__ == "__main__":
    main()
