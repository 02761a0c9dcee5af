"""A kit for testing features of your own: the same bits on every prefix, host and checkpoint.

```python
def test_gap_holds_everywhere() -> None:
    assert examine_feature(Gap(), make_walk()) == []
```
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError, OnetapeError, StrategyError
from onetape.features.columns import compute_column, select_inputs
from onetape.features.distribution import (
    compute_psi,
    count_bins,
    cut_bins,
    describe_sample,
)
from onetape.features.estimator import Estimator, FloatColumn
from onetape.features.validation import is_same_bits

Columns = Mapping[str, npt.NDArray[Any]]

PARTS = 4
"""Parts of the history that stability compares."""

_MINUTE = 60_000_000_000
_SAMPLE_MIN = 20
_ROWS_MAX = 2_000
"""Rows that are looked at by the Python host; it is slow, and faults show early."""


class Problem(NamedTuple):
    """What is wrong: a stable word for programs, and sentences for people."""

    code: str
    message: str
    remedy: str


class Stationarity(msgspec.Struct, frozen=True, kw_only=True):
    """P-values of two opposite tests.

    `adf`: small speaks for a stationary series (augmented Dickey-Fuller 1979). `kpss`: small speaks
    against one (Kwiatkowski and others 1992); its tables end at 0.01 and 0.1.
    """

    adf: float
    kpss: float

    @property
    def is_stationary(self) -> bool:
        """Both tests say so, each at 5%."""
        return self.adf < 0.05 < self.kpss


def make_walk(rows: int = 600, seed: int = 0) -> Columns:
    """Bars of a minute on a random walk, in sessions of 390, to test features with."""
    chance = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(chance.normal(0.0, 0.01, rows)))
    open_ = np.concatenate([[100.0], close[:-1]])
    reach = np.abs(chance.normal(0.0, 0.003, (2, rows))) * close
    ts_open = 1_704_205_800_000_000_000 + _MINUTE * np.arange(rows, dtype=np.int64)
    session = np.minimum((np.arange(rows) // 390 + 1) * 390, rows) - 1
    return {
        "ts_open": ts_open,
        "ts_close": ts_open + _MINUTE,
        "ts_known": ts_open + _MINUTE,
        "session_close": (ts_open + _MINUTE)[session],
        "quality": np.zeros(rows, dtype=np.int64),
        "open": open_,
        "high": np.maximum(open_, close) + reach[0],
        "low": np.minimum(open_, close) - reach[1],
        "close": close,
        "volume": np.floor(chance.lognormal(10.0, 1.0, rows)),
    }


def examine_feature(feature: Estimator, columns: Columns) -> list[Problem]:
    """All checks below on the first rows of `columns`; empty when nothing is wrong.

    Raises:
        StrategyError: A column that it reads is not there.
        DataError: A column holds no numbers.
    """
    try:
        _ = feature.version
    except StrategyError as error:
        return [Problem("rule", f"{error.where} {error.what}", error.remedy)]
    inputs = tuple(each[:_ROWS_MAX] for each in select_inputs("feature", feature, columns))
    try:
        whole = compute_column(feature, inputs)
    except OnetapeError:
        raise
    except Exception as error:  # noqa: BLE001 - the edge to user code
        what = f"update raises {type(error).__name__}: {error}"
        return [Problem("raises", what, "give math.nan where there is no value")]
    return [
        *check_prefixes(feature, inputs, whole),
        *check_checkpoints(feature, inputs, whole),
        *check_hosts(feature, inputs, whole),
    ]


def check_prefixes(
    feature: Estimator, inputs: tuple[FloatColumn, ...], whole: FloatColumn
) -> list[Problem]:
    """Whether the values up to a row are the same with and without the rows behind it."""
    for stop in _places(feature, len(whole)):
        part = compute_column(feature, tuple(each[:stop] for each in inputs))
        if not is_same_bits(part, whole[:stop]):
            row = int(np.flatnonzero(part.view(np.int64) != whole[:stop].view(np.int64))[0])
            return [Problem(
                "prefix",
                f"row {row:,} is {float(whole[row])!r} with {len(whole):,} bars of history and "
                f"{float(part[row])!r} with the first {stop:,}",
                "let update depend on its state and its inputs alone: a value may not come from "
                "later rows, or from what an earlier run left behind",
            )]  # fmt: skip
    return []


def check_checkpoints(
    feature: Estimator, inputs: tuple[FloatColumn, ...], whole: FloatColumn
) -> list[Problem]:
    """Whether it goes on from a snapshot, through bytes, as if it had never stopped."""
    rows = list(zip(*(each.tolist() for each in inputs), strict=True))
    for stop in _places(feature, len(whole)):
        live = feature.start()
        for row in rows[:stop]:
            live.update(*row)
        data = msgspec.msgpack.decode(msgspec.msgpack.encode(live.snapshot()))
        again = feature.start()
        again.restore(data)
        tail = np.array([again.update(*row) for row in rows[stop:]], dtype=np.float64)
        if not is_same_bits(tail, whole[stop:]):
            return [Problem(
                "checkpoint",
                f"after a snapshot at row {stop:,} the values are other ones",
                "keep all that update remembers in its state",
            )]  # fmt: skip
    return []


def check_hosts(
    feature: Estimator, inputs: tuple[FloatColumn, ...], whole: FloatColumn
) -> list[Problem]:
    """Whether the compiled host gives the same bits."""
    from onetape.features.compiled import compute_column_compiled

    writable = tuple(np.require(each, np.float64, ["C", "A", "W", "O"]) for each in inputs)
    try:
        compiled = compute_column_compiled(feature, writable)
    except Exception as error:  # noqa: BLE001 - whatever Numba says about user code
        first = str(error).strip().partition("\n")[0]
        what = f"the compiled host can't run it: {type(error).__name__}: {first}"
        return [Problem("compiled", what, "write update as a rule: docs/features.md, Your own")]
    if not is_same_bits(compiled, whole):
        row = int(np.flatnonzero(compiled.view(np.int64) != whole.view(np.int64))[0])
        return [Problem(
            "compiled",
            f"row {row:,} is {float(compiled[row])!r} compiled and {float(whole[row])!r} in Python",
            "use no int state for fractions, and nothing outside of a rule's subset",
        )]  # fmt: skip
    return []


def measure_stability(values: FloatColumn) -> float:
    """How far later parts of a history are from its first: the greatest stability index of them.

    Below 0.1 is called stable and above 0.25 another distribution (Siddiqi 2006); NaN where a part
    has fewer than 20 values.
    """
    finite = values[np.isfinite(values)]
    parts = [describe_sample(each.tolist()) for each in np.array_split(finite, PARTS)]
    if min(each.count for each in parts) < _SAMPLE_MIN:
        return math.nan
    edges = cut_bins(parts[0])
    first = count_bins(edges, parts[0])
    return max(compute_psi(first, count_bins(edges, each)) for each in parts[1:])


def measure_stationarity(values: FloatColumn) -> Stationarity:
    """ADF and KPSS of a column, NaN left out; NaN where it has fewer than 20 values or is constant.

    Raises:
        DataError: statsmodels is not installed.
    """
    import warnings

    try:
        from statsmodels.tsa.stattools import adfuller, kpss
    except ModuleNotFoundError:
        raise DataError("tests of stationarity need statsmodels",
                        remedy="pip install 'onetape[research]'") from None  # fmt: skip
    finite = values[np.isfinite(values)]
    if len(finite) < _SAMPLE_MIN or finite.min() == finite.max():
        return Stationarity(adf=math.nan, kpss=math.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a p-value beyond the table is given as its end
        of_adf: Any = adfuller(finite, result_object=True)
        of_kpss: Any = kpss(finite, nlags="auto", result_object=True)
        return Stationarity(
            adf=float(of_adf.pvalue),
            kpss=float(of_kpss.pvalue),
        )


def _places(feature: Estimator, rows: int) -> list[int]:
    """Rows to cut at: about the first value, and through the history."""
    warm = feature.warm_up
    places = {1, warm - 1, warm, warm + 1, rows // 3, rows // 2, rows - 1}
    return sorted(each for each in places if 0 < each < rows)
