"""Features of longer timeframes, against bars that are made by hand and by polars."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import polars as pl
import pytest

from onetape.domain.errors import StrategyError
from onetape.features import Atr, Ema, Estimator, Rsi, SessionVwap, Sma, Timeframed, Vwap
from onetape.features.columns import compute_column, select_inputs
from onetape.features.compiled import compute_column_compiled
from tests.support.shared_data import SHARED, needs_shared

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
T0 = 1_700_000_100 * SECOND  # 15 minutes past an hour


def make_bars(seed: int, rows: int, missing: float = 0.3) -> dict[str, np.ndarray[Any, Any]]:
    """Minute bars with gaps; a session is 100 minutes of the clock."""
    chance = random.Random(seed)
    minutes = [at for at in range(rows) if chance.random() >= missing] or [0]
    ts_open = np.array([T0 + at * MINUTE for at in minutes], dtype=np.int64)
    prices = np.array([[chance.uniform(90, 110) for _ in range(4)] for _ in minutes])
    return {
        "ts_open": ts_open,
        "ts_close": ts_open + MINUTE,
        "session_close": T0 + (np.array(minutes) // 100 + 1) * 100 * MINUTE,
        "open": prices[:, 0].copy(),
        "high": prices.max(axis=1),
        "low": prices.min(axis=1),
        "close": prices[:, 1].copy(),
        "volume": np.array([float(chance.randint(0, 9)) / 7 for _ in minutes]),
    }


def naive(feature: Estimator, bars: dict[str, Any], length: int) -> list[float]:
    """At each row: the feature over all bars of its timeframe that are surely over, made anew."""
    values: list[float] = []
    rows = len(bars["close"])
    for now in range(rows):
        groups: dict[int, list[int]] = {}
        for at in range(now + 1):
            key = bars["ts_open"][at] // length if length else bars["session_close"][at]
            groups.setdefault(int(key), []).append(at)
        running = feature.start()
        value = math.nan
        for number, (key, members) in enumerate(groups.items()):
            end = (key + 1) * length if length else key
            if number == len(groups) - 1 and bars["ts_close"][members[-1]] < end:
                continue
            made = {
                "open": bars["open"][members[0]],
                "high": max(bars["high"][each] for each in members),
                "low": min(bars["low"][each] for each in members),
                "close": bars["close"][members[-1]],
                "volume": sum(bars["volume"][each] for each in members),
            }
            value = running.update(*(float(made[name]) for name in feature.inputs))
        values.append(value)
    return values


FEATURES: list[Estimator] = [Sma(window=3), Atr(window=2), Vwap(window=2),
                             Ema(window=2) - Sma(window=3)]  # fmt: skip
TIMEFRAMES = {"5m": 5 * MINUTE, "1h": 60 * MINUTE, "90s": 90 * SECOND, "1d": 0}


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
@pytest.mark.parametrize("feature", FEATURES, ids=repr)
def test_every_host_gives_the_value_of_the_bars_that_are_over(
    feature: Estimator, timeframe: str
) -> None:
    for seed in range(6):
        bars = make_bars(seed, 150 if timeframe != "1d" else 450)
        longer = Timeframed(feature=feature, timeframe=timeframe)
        inputs = select_inputs("f", longer, bars)
        expected = np.array(naive(feature, bars, TIMEFRAMES[timeframe]))
        batch = compute_column(longer, inputs)
        compiled = compute_column_compiled(longer, inputs)
        live = longer.start()
        stepped: list[float] = []
        for row in zip(*(each.tolist() for each in inputs), strict=True):
            stepped.append(live.update(*row))
            again = longer.start()
            again.restore(live.snapshot())
            live = again
        for found in (batch, compiled, np.array(stepped)):
            assert found.tobytes() == batch.tobytes()
        assert np.array_equal(batch, expected, equal_nan=True)


@pytest.mark.parametrize("start", [0, T0], ids=["exact", "today"])
def test_ticks_at_the_end_of_a_bar_belong_to_it_and_do_not_end_it(start: int) -> None:
    """Several may have the time of the end, so only a later one shows that the bar is over."""
    feature = Timeframed(Sma(1), "1m")
    for seed in range(30):
        chance = random.Random(seed)
        times = sorted(
            start + chance.choice((60, 60, 120, 30, 90, 180)) * SECOND
            - chance.choice((0, 0, 1, 100, 128, 200, 300))
            for _ in range(12)
        )  # fmt: skip
        ts = np.array(times, dtype=np.float64)
        inputs = (
            np.array([chance.uniform(90, 110) for _ in times]),
            np.array([each - 1 for each in times], dtype=np.float64),
            ts,
            np.full(len(times), float(start + 3600 * SECOND)),
        )
        assert feature.inputs == ("close", "ts_open", "ts_close", "session_close")
        column = compute_column(feature, inputs)
        running = feature.start()
        told = [running.update(*map(float, row)) for row in zip(*inputs, strict=True)]
        np.testing.assert_array_equal(column, told)


def test_longer_timeframe_combines_with_the_own_one() -> None:
    bars = make_bars(1, 300, missing=0)
    spread = Sma(window=5) - Timeframed(feature=Sma(window=2), timeframe="15m")
    found = compute_column(spread, select_inputs("f", spread, bars))
    short = compute_column(Sma(window=5), (bars["close"],))
    longer = Timeframed(feature=Sma(window=2), timeframe="15m")
    long = compute_column(longer, select_inputs("f", longer, bars))
    assert found.tobytes() == (short - long).tobytes()
    assert np.isfinite(found).sum() > 200


def test_value_up_to_a_bar_does_not_depend_on_what_comes_later() -> None:
    bars = make_bars(3, 200)
    longer = Timeframed(feature=Rsi(window=3), timeframe="10m")
    whole = compute_column(longer, select_inputs("f", longer, bars))
    for stop in range(1, len(whole)):
        part = {name: values[:stop] for name, values in bars.items()}
        cut = compute_column(longer, select_inputs("f", longer, part))
        assert cut.tobytes() == whole[:stop].tobytes()


@needs_shared
def test_hours_of_real_minutes_are_those_of_polars() -> None:
    """Four regular sessions; an hour that begins at 14:00 UTC has the 30 minutes from 14:30."""
    file = SHARED / "indicators" / "quotes_intraday_1min_202012.csv"
    frame = pl.read_csv(file, infer_schema_length=0)
    stamp, *names = frame.columns
    times = frame[stamp].str.to_datetime(time_zone="America/New_York").dt.epoch("ns")
    columns = {name.lower(): frame[name].cast(pl.Float64).to_numpy() for name in names}
    ts_open = times.to_numpy()
    days = ts_open // (86_400 * SECOND)
    bars = columns | {
        "ts_open": ts_open,
        "ts_close": ts_open + MINUTE,
        "session_close": (days + 1) * 86_400 * SECOND,
    }
    longer = Timeframed(feature=Sma(window=3), timeframe="1h")
    found = compute_column(longer, select_inputs("f", longer, bars))
    hours = (
        pl.DataFrame({"hour": ts_open // (3600 * SECOND), "close": columns["close"]})
        .group_by("hour", maintain_order=True)
        .agg(pl.col("close").last(), pl.len())
        .with_columns(pl.col("close").rolling_mean(3).alias("mean"))
    )
    ends = np.cumsum(hours["len"].to_numpy())[:-1]  # the first bar of the next hour
    values = hours["mean"].to_numpy()[:-1]
    known = np.isfinite(values)
    assert known.sum() > 20
    assert found[ends[known]] == pytest.approx(values[known], rel=1e-12)


@pytest.mark.parametrize(
    ("feature", "timeframe", "message"),
    [
        (Sma(window=3), "1w", "is no timeframe"),
        (Sma(window=3), "0m", "is no timeframe"),
        (Sma(window=3), "m", "is no timeframe"),
        (SessionVwap(), "1h", "reads session_close"),
        (Timeframed(feature=Sma(window=2), timeframe="5m"), "1h", "reads ts_open"),
    ],
)
def test_wrong_timeframe_is_refused(feature: Estimator, timeframe: str, message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        Timeframed(feature=feature, timeframe=timeframe)


def test_version_changes_with_timeframe_and_feature() -> None:
    versions = {
        Timeframed(feature=Sma(window=window), timeframe=timeframe).version
        for window in (2, 3)
        for timeframe in ("5m", "1h", "1d")
    }
    assert len(versions) == 6
