"""The section `drift` of the configuration: which change of a feature is worth an alert."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from onetape.features.drift import DriftSettings
from onetape.runtime.config_section import Section
from onetape.runtime.config_values import Count, RefusedError

Bars = Annotated[int, Field(strict=True, ge=20, le=100_000)]
Statistic = Literal["psi", "ks", "mean", "variance", "correlation", "nan", "stale"]
Share = Annotated[float, Field(gt=0, lt=1)]


class DriftConfig(Section):
    """Watch the features of every strategy: recent values against those of a reference."""

    reference: Bars = 500
    """Bars after the warm-up that the recent ones are compared with."""
    recent: Bars = 200
    """Newest bars."""
    every: Count = 50
    """Bars between two looks."""
    level: Share = 0.001
    """Chance of an alarm of one statistic at one look when nothing has changed."""
    cooldown: Count = 200
    """Bars without another alert of the same statistic and feature."""
    nan_rise: Share = 0.05
    """Rise of the share of NaN that is an alert."""
    stale: Count = 50
    """Bars without a change of the value that are an alert."""
    statistics: Annotated[tuple[Statistic, ...], Field(min_length=1)] = (
        "psi", "ks", "mean", "variance", "correlation", "nan", "stale",
    )  # fmt: skip
    """Which are looked at."""

    @model_validator(mode="after")
    def _each_once(self) -> DriftConfig:
        for at, each in enumerate(self.statistics):
            if each in self.statistics[:at]:
                raise RefusedError(f"names {each} twice", at=("statistics", at))
        return self

    def settings(self) -> DriftSettings:
        """What the monitors are built from."""
        return DriftSettings(**self.model_dump())
