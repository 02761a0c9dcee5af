"""What a column of a feature must keep: its type, its range, how much of it may be missing."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from onetape.features.estimator import Estimator
from onetape.features.registry import FeatureDefinition
from onetape.features.state import FloatColumn

TYPE_ROWS = 200
"""Rows beyond the warm-up that are looked at by type."""


class FeatureFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong with a feature.

    `place` is the line that registered it, `code` a stable word for programs, `message` and
    `remedy` are sentences for people.
    """

    feature: str
    place: str
    code: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.feature}: {self.message} ({self.remedy}) [{self.code}]"


def report(definition: FeatureDefinition, code: str, message: str, remedy: str) -> FeatureFinding:
    """A finding about `definition`."""
    return FeatureFinding(
        feature=definition.key, place=definition.place, code=code, message=message, remedy=remedy
    )


def check_column(
    definition: FeatureDefinition, feature: Estimator, values: FloatColumn
) -> list[FeatureFinding]:
    """Values outside `low` to `high`, infinities, and more NaN than `nan_ratio_max`.

    Args:
        definition: What it promises.
        feature: The same, resolved.
        values: Its column over the bars of one instrument.
    """
    findings: list[FeatureFinding] = []
    outside = (values < definition.low) | (values > definition.high)
    if outside.any():
        row = int(outside.argmax())
        findings.append(report(
            definition, "range",
            f"{int(outside.sum()):,} values are not in {definition.low:g} to {definition.high:g}, "
            f"the first is {float(values[row])!r} at row {row:,}",
            "correct the feature, or the low and high it is registered with",
        ))  # fmt: skip
    if np.isinf(values).any():
        row = int(np.isinf(values).argmax())
        findings.append(report(
            definition, "infinite", f"{float(values[row])!r} at row {row:,}", "give NaN instead"
        ))  # fmt: skip
    warm = values[feature.warm_up - 1 :]
    missing = int(np.isnan(warm).sum())
    if len(warm) and missing / len(warm) > definition.nan_ratio_max:
        findings.append(report(
            definition, "nan",
            f"{missing / len(warm):.2%} of the values after the warm-up are NaN, and "
            f"{definition.nan_ratio_max:.2%} may be",
            "look at the data (onetape data quality), or allow more with nan_ratio_max",
        ))  # fmt: skip
    early = values[: feature.warm_up - 1]
    if not np.isnan(early).all():
        row = int(np.flatnonzero(~np.isnan(early))[0])
        findings.append(report(
            definition, "warm-up",
            f"there is a value at row {row:,}, and warm_up says {feature.warm_up:,} bars",
            "let warm_up be the bars until the first value",
        ))  # fmt: skip
    return findings


def check_type(
    definition: FeatureDefinition, feature: Estimator, inputs: tuple[FloatColumn, ...]
) -> list[FeatureFinding]:
    """Whether `update` gives a float at each bar, and nothing else."""
    live = feature.start()
    rows = min(len(inputs[0]), feature.warm_up + TYPE_ROWS) if inputs else 0
    for row in range(rows):
        value: Any = live.update(*(float(column[row]) for column in inputs))
        if type(value) is not float:
            return [report(
                definition, "type",
                f"update gives {value!r} ({type(value).__name__}) at row {row:,}",
                "give a float: math.nan where there is no value",
            )]  # fmt: skip
    return []


def is_same_bits(one: FloatColumn, other: FloatColumn) -> bool:
    """Whether two columns are equal, a NaN being equal to any NaN."""
    both = np.isnan(one) & np.isnan(other)
    return one.shape == other.shape and bool(
        ((one.view(np.int64) == other.view(np.int64)) | both).all()
    )
