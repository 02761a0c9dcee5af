from __future__ import annotations

import inspect

import numpy as np
import pytest

from onetape.domain.errors import StrategyError
from onetape.features import (
    Ema,
    Estimator,
    FeatureRegistry,
    Rsi,
    Sma,
    Timeframed,
    compute_feature_columns,
)
from onetape.features.lineage import draw_lineage, trace_lineage
from onetape.research.feature_kit import make_walk


def line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


@pytest.fixture
def registry() -> FeatureRegistry:
    made = FeatureRegistry()
    made.add("calm", Ema(5, inputs=("rsi",)))  # before what it reads
    made.add("rsi", Rsi(14))
    made.add("rsi", Rsi(21), version=2)
    made.add("pull", Sma(3).of("calm") - Ema(4, inputs=("rsi@1",)))
    made.add("hour", Timeframed(Ema(3, inputs=("rsi@1",)), "1h"))
    return made


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("calm", Ema(5).of(Rsi(21))),
        ("rsi@1", Rsi(14)),
        ("rsi", Rsi(21)),
        ("pull", Sma(3).of(Ema(5).of(Rsi(21))) - Ema(4).of(Rsi(14))),
    ],
)
def test_resolved_feature_is_the_expression_of_its_parts(
    registry: FeatureRegistry, name: str, same: Estimator
) -> None:
    found = registry.resolve(name)
    assert found.inputs == same.inputs
    assert found.warm_up == same.warm_up
    columns = make_walk(400)
    one, other = compute_feature_columns({"one": found, "other": same}, columns).values()
    assert one.tobytes() == other.tobytes()
    live = found.start()
    moved = [live.update(*row) for row in zip(*(columns[n] for n in found.inputs), strict=True)]
    assert np.array(moved).tobytes() == one.tobytes()


def test_named_feature_runs_inside_a_longer_timeframe(registry: FeatureRegistry) -> None:
    columns = make_walk(400)
    rsi = compute_feature_columns({"rsi": Rsi(14)}, columns)["rsi"]
    inner = Timeframed(Ema(3, inputs=("rsi",)), "1h")
    expected = compute_feature_columns({"hour": inner}, {**columns, "rsi": rsi})["hour"]
    found = compute_feature_columns({"hour": registry.resolve("hour")}, columns)["hour"]
    assert np.isfinite(expected).any()
    assert found.tobytes() == expected.tobytes()


def test_version_covers_what_a_feature_reads_by_name() -> None:
    versions = set[str]()
    for window in (14, 21):
        registry = FeatureRegistry()
        registry.add("rsi", Rsi(window))
        registry.add("calm", Ema(5, inputs=("rsi",)))
        versions.add(registry.version_of("calm"))
    assert len(versions) == 2


def test_features_that_read_each_other_are_refused_with_the_circle() -> None:
    registry = FeatureRegistry()
    registry.add("one", Ema(3, inputs=("two",)))
    at = line() - 1
    registry.add("two", Ema(3, inputs=("three",)))
    registry.add("three", Ema(3, inputs=("one",)))
    with pytest.raises(StrategyError, match="one@1 -> two@1 -> three@1 -> one@1") as caught:
        registry.resolve("one")
    assert caught.value.where.endswith(f"test_registry.py:{at}")
    assert len(registry.check()) == 3


def test_unknown_dependency_is_refused_with_the_nearest_name_and_the_line() -> None:
    registry = FeatureRegistry()
    registry.add("rsi", Rsi())
    registry.add("calm", Ema(3, inputs=("rsy",)))
    at = line() - 1
    with pytest.raises(StrategyError, match=r"reads 'rsy'.*did you mean 'rsi'") as caught:
        registry.resolve("calm")
    assert caught.value.where.endswith(f"test_registry.py:{at}")


def test_name_is_taken_and_version_stands() -> None:
    registry = FeatureRegistry()
    registry.add("rsi", Rsi(14))
    at = line() - 1
    registry.add("rsi", Rsi(14))  # the same once more
    with pytest.raises(StrategyError, match=rf"is taken .*test_registry.py:{at} .*version=2"):
        registry.add("rsi", Rsi(15))
    with pytest.raises(StrategyError, match=rf"version 1 .* otherwise at .*:{at} .*version=2"):
        registry.add("rsi", Rsi(15), version=1)
    with pytest.raises(StrategyError, match="otherwise"):
        registry.add("rsi", Rsi(14), version=1, low=0)


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("close", {}, "is a column of market data"),
        ("not a name", {}, "is no identifier"),
        ("a", {"low": 2, "high": 1}, "bound to 2..1"),
        ("a", {"nan_ratio_max": 1.5}, "1.5 NaN"),
        ("a", {"version": 0}, "count from 1"),
    ],
)
def test_registration_that_makes_no_sense_is_refused(
    name: str, more: dict[str, float], said: str
) -> None:
    with pytest.raises(StrategyError, match=said):
        FeatureRegistry().add(name, Rsi(), **more)  # pyright: ignore[reportArgumentType]


def test_unknown_version_is_refused(registry: FeatureRegistry) -> None:
    with pytest.raises(StrategyError, match=r"no version '7' of 'rsi' .versions: 1, 2"):
        registry.resolve("rsi@7")


def test_lineage_is_drawn_from_what_nobody_reads(registry: FeatureRegistry) -> None:
    text = draw_lineage(trace_lineage(registry))
    assert "pull@1 = (Sma(3).of(calm) - Ema(4, inputs=('rsi@1',)))" in text
    assert (
        "|-- calm@1 = Ema(5, inputs=('rsi',))\n"
        "|   `-- rsi@2 = Rsi(21)\n"
        "|       `-- close\n"
        "`-- rsi@1 = Rsi()\n"
        "    `-- close"
    ) in text
