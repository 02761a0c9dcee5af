"""What `onetape features check` finds: each feature over the bars of a catalog."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from onetape.features.columns import select_inputs
from onetape.features.registry import FeatureDefinition
from onetape.features.store import FeatureColumn, FeatureStore
from onetape.features.validation import FeatureFinding, check_column, check_type, report
from onetape.research.feature_kit import (
    examine_feature,
    measure_stability,
    measure_stationarity,
)


class CheckedColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A feature over one instrument. `nan_ratio` is after the warm-up; figures are NaN of none."""

    feature: str
    instrument: str
    rows: int
    nan_ratio: float
    low: float
    median: float
    high: float
    stability: float
    adf: float = math.nan
    kpss: float = math.nan


class FeatureReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `findings` are faults; the figures of `columns` are for a person to judge."""

    columns: list[CheckedColumn]
    findings: list[FeatureFinding]


def check_features(
    store: FeatureStore, symbols: Sequence[str], *, stationarity: bool = False
) -> FeatureReport:
    """Every feature of a registry over every instrument, without storing anything.

    Raises:
        StrategyError: A name that a feature reads is unknown, or features form a circle.
        DataError: There are no such bars, fewer than a warm-up, or statsmodels is not installed.
    """
    columns: list[CheckedColumn] = []
    findings: list[FeatureFinding] = []
    for definition in store.registry:
        faults = _examine(definition, store, symbols[0])
        findings += faults
        if any(each.code in ("type", "raises", "rule") for each in faults):
            continue
        feature = store.registry.resolve(definition.key)
        for symbol in symbols:
            column = store.column(definition.key, symbol)
            findings += [
                msgspec.structs.replace(each, message=f"{symbol}: {each.message}")
                for each in check_column(definition, feature, column.values)
            ]
            checked = _measure(column, feature.warm_up, stationarity=stationarity)
            columns.append(checked)
    return FeatureReport(columns=columns, findings=findings)


def _examine(
    definition: FeatureDefinition, store: FeatureStore, symbol: str
) -> list[FeatureFinding]:
    """Type, prefixes, checkpoints and hosts, over the bars or a day of ticks of an instrument."""
    feature = store.registry.resolve(definition.key)
    bars = store.read_sample(symbol)
    try:
        faults = check_type(definition, feature, select_inputs(definition.key, feature, bars))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        what = f"update raises {type(error).__name__}: {error}"
        return [report(definition, "raises", what, "give math.nan where there is no value")]
    return faults or [report(definition, *each) for each in examine_feature(feature, bars)]


def _measure(column: FeatureColumn, warm_up: int, *, stationarity: bool) -> CheckedColumn:
    warm = column.values[warm_up - 1 :]
    finite = warm[np.isfinite(warm)]
    tests = measure_stationarity(finite) if stationarity else None
    none = not len(finite)
    return CheckedColumn(
        feature=column.name,
        instrument=column.instrument,
        rows=len(column.values),
        nan_ratio=float(np.isnan(warm).mean()) if len(warm) else math.nan,
        low=math.nan if none else float(finite.min()),
        median=math.nan if none else float(np.median(finite)),
        high=math.nan if none else float(finite.max()),
        stability=measure_stability(warm),
        adf=tests.adf if tests else math.nan,
        kpss=tests.kpss if tests else math.nan,
    )
