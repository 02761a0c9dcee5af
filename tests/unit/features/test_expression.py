from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from onetape.domain.errors import DataError, StrategyError
from onetape.features import (
    Atr,
    Correlation,
    Ema,
    Estimator,
    Lag,
    Rsi,
    SimpleReturn,
    Sma,
    Stochastic,
    compute_feature_columns,
)
from onetape.features.columns import COLD_UPDATES_MIN, compute_column, count_updates
from onetape.features.compiled import compute_column_compiled
from onetape.features.estimator import Combined, CombinedWithNumber, Expression
from onetape.features.plan import Node, Plan

NAN = math.nan
LINE = Ema(3) - Ema(5)
HISTOGRAM = LINE - Ema(2).of(LINE)


class Spread(Expression, frozen=True):
    """A named expression: what a user writes."""

    fast: int = 3
    slow: int = 5

    def build(self) -> Estimator:
        return Ema(self.fast) - Ema(self.slow)


class Endless(Expression, frozen=True):
    def build(self) -> Estimator:
        return Sma(2).of(Endless())


class Nameless(Expression, frozen=True):
    """Declares no build."""


def run(estimator: Estimator, *values: float) -> list[float]:
    running = estimator.start()
    return [running.update(value) for value in values]


def test_plan_has_each_part_once_after_what_it_reads() -> None:
    parts = [node.estimator for node in HISTOGRAM.plan.nodes]
    assert parts == [Ema(3), Ema(5), Combined("-"), Ema(2), Combined("-")]
    assert [node.sources for node in HISTOGRAM.plan.nodes] == [(0,), (0,), (1, 2), (3,), (3, 4)]


def test_plan_lets_columns_go_after_their_last_use() -> None:
    held: list[int] = []
    plan = Plan(("close",))
    at = 0
    for window in range(1, 6):
        at = plan.add(Sma(window), (at,))
    columns: list[Any] = []

    def compute_node(estimator: Any, inputs: Any) -> Any:
        import weakref

        column = np.ones(3)
        columns.append(weakref.ref(column))
        held.append(sum(each() is not None for each in columns))
        return column

    plan.compute((np.ones(3),), compute_node)
    assert held == [1, 2, 2, 2, 2]


def test_plan_of_one_column_read_twice_keeps_it_until_then() -> None:
    plan = Plan(("close",))
    plan.add(Combined("+"), (0, 0))
    assert plan.nodes == [Node(Combined("+"), (0, 0))]
    assert plan.compute((np.ones(2),), compute_column).tolist() == [2.0, 2.0]


def test_inputs_of_an_expression_are_the_columns_of_its_parts() -> None:
    assert (Atr(5) / Sma(3)).inputs == ("high", "low", "close")
    assert Correlation(5).of(SimpleReturn(), "volume").inputs == ("close", "volume")
    assert (Sma(3, inputs=("volume",)) * 2).inputs == ("volume",)
    assert Stochastic().inputs == ("high", "low", "close")
    assert Spread(inputs=("close",)) == Spread()


def test_warm_up_adds_up_along_a_chain_and_takes_the_longest_branch() -> None:
    assert LINE.warm_up == 5
    assert HISTOGRAM.warm_up == 6
    assert Lag(4).of(Rsi(14)).warm_up == 15 + 4
    assert (Sma(9) + Sma(2).of(Sma(3))).warm_up == 9


def test_named_expression_has_the_bits_of_its_parts_and_a_version_of_its_own() -> None:
    closes = [math.sin(at) for at in range(30)]
    assert str(run(Spread(), *closes)) == str(run(LINE, *closes))
    assert len({Spread().version, Spread(2).version, LINE.version}) == 3


def test_version_covers_the_parts() -> None:
    versions = {
        each.version
        for each in (
            Ema(3) - Ema(5), Ema(3) - Ema(6), Ema(3) - Sma(5), Ema(5) - Ema(3), Ema(3) + Ema(5),
            Ema(3) - 5, Ema(3) - 6, 5 - Ema(3), Ema(3).of(Ema(5)), Ema(3).of(Sma(5)),
            Ema(3).of("volume"), Ema(3), Ema(3, inputs=("volume",)),
        )
    }  # fmt: skip
    assert len(versions) == 13


def test_expressions_of_equal_parts_are_equal() -> None:
    assert Ema(3) - Ema(5) == LINE
    assert hash(Ema(3) - Ema(5)) == hash(LINE)
    assert Ema(3) - Ema(6) != LINE


def test_snapshot_of_an_expression_goes_on_with_the_same_bits() -> None:
    closes = [math.sin(at) for at in range(40)]
    running = HISTOGRAM.start()
    for close in closes[:20]:
        running.update(close)
    plain = msgspec.msgpack.decode(msgspec.msgpack.encode(running.snapshot()))
    other = HISTOGRAM.start()
    other.restore(plain)
    assert other.value == running.value
    for close in closes[20:]:
        assert other.update(close) == running.update(close)
    with pytest.raises(StrategyError, match="can't continue version"):
        LINE.start().restore(plain)


@pytest.mark.parametrize("rows_total", [None, COLD_UPDATES_MIN])
def test_columns_of_expressions_by_either_host(rows_total: int | None) -> None:
    closes = np.sin(np.arange(50.0)) + 2
    columns = {"close": closes, "volume": closes**2}
    features = {"line": LINE, "mixed": Combined("/", inputs=("close", "volume")), "twice": 2 * LINE}
    values = compute_feature_columns(features, columns, rows_total=rows_total)
    assert values["line"].tobytes() == np.array(run(LINE, *closes)).tobytes()
    np.testing.assert_array_equal(values["twice"], 2 * values["line"])
    np.testing.assert_array_equal(values["mixed"], closes / columns["volume"])
    assert columns["close"].tolist() == closes.tolist()


def test_updates_of_an_expression_are_those_of_its_parts() -> None:
    """They decide which host pays."""
    assert [count_updates(each) for each in (Ema(3), LINE, HISTOGRAM)] == [1, 3, 5]


def test_expression_of_no_rows_has_none() -> None:
    assert compute_column_compiled(HISTOGRAM, (np.ones(0),)).shape == (0,)


def test_division_by_zero_is_no_number() -> None:
    running = [each.start() for each in (Sma(1) / Sma(1), 1 / Sma(1))]
    assert [each.update(0.0) for each in running] == pytest.approx([NAN] * 2, nan_ok=True)
    assert [each.update(2.0) for each in running] == [1, 0.5]


TEXT: Any = "close"
FIVE: Any = 5
POWER: Any = "^"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Endless(), "Endless: is made of itself (build may only use features that"),
        (lambda: Nameless(), "Nameless: has no build (define it)"),
        (lambda: LINE.of(Sma(2)), "Composed("),
        (lambda: Ema(3).of(Sma(2), Sma(3)), "Ema(window=3, inputs=('close',)): is of 2 features"),
        (lambda: Correlation(5).of(Sma(2)), "Correlation(window=5, inputs=('close', 'volume')): "),
        (lambda: Ema(3).of(TEXT, FIVE), "Ema(window=3, inputs=('close',)): is of 2 features"),
        (lambda: Ema(3).of(FIVE), "Ema(window=3, inputs=('close',)): is of 5 (features or names"),
        (
            lambda: Ema(3, inputs=("volume",)).of(Sma(2)),
            "Ema(window=3, inputs=('volume',)): reads the columns volume and is to be of features",
        ),
        (lambda: Spread(inputs=("volume",)), "Spread: takes no inputs ('volume',) (its parts read"),
        (lambda: Ema(3) * math.inf, "CombinedWithNumber: number inf is not valid"),
        (lambda: NAN + Ema(3), "CombinedWithNumber: number nan is not valid"),
        (lambda: Ema(3) / 0, "CombinedWithNumber: divides by zero"),
        (lambda: Spread(fast=0), "Ema: window 0 is not valid"),
        (lambda: CombinedWithNumber(POWER, 2.0), "CombinedWithNumber: operation '^' is not valid"),
    ],
)
def test_expression_that_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(StrategyError) as caught:
        make()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("other", ["close", None, True, [1.0]])
def test_arithmetic_with_what_is_no_number_is_a_type_error(other: Any) -> None:
    with pytest.raises(TypeError):
        _ = Ema(3) + other
    with pytest.raises(TypeError):
        _ = other - Ema(3)


def test_columns_without_an_input_of_a_part_name_it() -> None:
    with pytest.raises(StrategyError, match="feature x: there is no column 'volume'"):
        compute_feature_columns({"x": Ema(3).of("volume")}, {"close": np.ones(3)})


@pytest.mark.parametrize(
    "column",
    [np.array(["1", "2"]), np.array([1j, 2j]), np.array(["2020", "2021"], "datetime64[s]")],
)
def test_columns_that_hold_no_numbers_are_refused(column: Any) -> None:
    with pytest.raises(DataError) as caught:
        compute_feature_columns({"x": Sma(1)}, {"close": column})
    told = "(features are of numbers: float64 or whole)"
    assert str(caught.value) == f"feature x: column 'close' is of {column.dtype} {told}"
