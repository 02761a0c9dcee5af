from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from onetape.domain.errors import StrategyError
from onetape.domain.rules import rule
from onetape.features import Atr, Ema, Estimator, RollingStd, Rsi, Sma, State

HALF: Any = 2.5
TEXT: Any = "14"


class CountState(State):
    count: int = 0


@rule
def update_count(state: CountState, close: float) -> float:
    state.count += 1
    return float(state.count)


class Count(Estimator, frozen=True):
    """Bars so far."""

    update = staticmethod(update_count)

    def start_state(self) -> CountState:
        return CountState()


@rule
def update_nothing(state: CountState) -> float:
    return 0.0


class Nothing(Estimator, frozen=True):
    update = staticmethod(update_nothing)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sma(0), "Sma: window 0 is not valid (Expected `int` >= 1)"),
        (lambda: Sma(1_000_001), "Sma: window 1000001 is not valid (Expected `int` <= 1000000)"),
        (lambda: Ema(HALF), "Ema: window 2.5 is not valid (Expected `int`, got `float`)"),
        (lambda: Rsi(True), "Rsi: window True is not valid (Expected `int`, got `bool`)"),
        (lambda: Atr(TEXT), "Atr: window '14' is not valid (Expected `int`, got `str`)"),
        (lambda: RollingStd(1), "RollingStd: window 1 is not valid (Expected `int` >= 2)"),
        (lambda: RollingStd(5, ddof=2), "RollingStd: ddof 2 is not valid (Expected `int` <= 1)"),
        (
            lambda: Sma(5, inputs=("high", "low")),
            "Sma: inputs ('high', 'low') are 2 columns (update takes 1 (close), and at least one)",
        ),
        (
            lambda: Nothing(),
            "Nothing: inputs () are 0 columns (update takes 0 (), and at least one)",
        ),
        (lambda: Count().warm_up, "Count: has no warm_up (declare it)"),
        (lambda: Nothing(inputs=()).start_state(), "Nothing: inputs () are 0 columns"),
    ],
)
def test_estimator_with_a_wrong_definition_or_parameter_is_refused(make: Any, message: str) -> None:
    with pytest.raises(StrategyError) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_estimator_inputs_are_the_arguments_of_update_unless_told() -> None:
    assert Sma(5).inputs == ("close",)
    assert Atr(5).inputs == ("high", "low", "close")
    assert Sma(5, inputs=("volume",)).inputs == ("volume",)


def test_estimator_is_frozen_and_equal_by_its_parameters() -> None:
    assert Sma(5) == Sma(5, inputs=("close",))
    assert hash(Sma(5)) == hash(Sma(5))
    assert Sma(5) != Sma(6)
    with pytest.raises(AttributeError):
        Sma(5).window = 6  # pyright: ignore[reportAttributeAccessIssue]


def test_running_estimator_holds_its_last_value() -> None:
    running = Sma(2).start()
    assert math.isnan(running.value)
    assert math.isnan(running.update(1.0))
    assert running.update(2.0) == 1.5 == running.value


def test_snapshot_through_msgpack_goes_on_with_the_same_bits() -> None:
    running = RollingStd(3).start()
    for value in (1.0, 5.5, 2.25, 9.0):
        running.update(value)
    plain = msgspec.msgpack.decode(msgspec.msgpack.encode(running.snapshot()))
    other = RollingStd(3).start()
    other.restore(plain)
    assert other.value == running.value
    assert other.update(0.1) == running.update(0.1)


def test_snapshot_does_not_move_with_the_estimator() -> None:
    running = Sma(2).start()
    running.update(1.0)
    before = running.snapshot()
    running.update(2.0)
    assert running.snapshot() != before
    other = Sma(2).start()
    other.restore(before)
    assert other.update(2.0) == 1.5
    assert running.update(4.0) == 3.0


@pytest.mark.parametrize("other", [Sma(3), Ema(2), Sma(2, inputs=("open",))])
def test_restore_of_another_version_is_refused(other: Estimator) -> None:
    with pytest.raises(StrategyError, match="can't continue version"):
        other.start().restore(Sma(2).start().snapshot())


def test_version_changes_with_each_parameter_and_is_the_same_in_every_process() -> None:
    estimators = "Sma(5), Sma(6), Ema(5), RollingStd(5), RollingStd(5, ddof=1), Atr(5), Rsi(5)"
    program = f"from onetape.features import *; print(*(e.version for e in ({estimators})))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    versions = outputs.pop().split()
    assert not outputs
    assert len(set(versions)) == 7
    assert versions[0] == Sma(5).version
    assert len(versions[0]) == 16
