"""Where a strategy may read features that compare the instruments of a time slice."""

from __future__ import annotations

from onetape.domain.errors import StrategyError
from onetape.features.cross_section import CrossSection
from onetape.features.estimator import FeatureMap
from onetape.strategy.sdk import Strategy

_WITHIN_A_SLICE = ("on_bar", "on_trade", "on_market_event", "generate_orders")


def check_slice_features(strategy: Strategy, features: FeatureMap) -> None:
    """Refuse a strategy that could read a rank before the slice that it is of is over.

    Raises:
        StrategyError: It has such a feature and hears single rows.
    """
    crossing = [name for name, each in features.items() if isinstance(each, CrossSection)]
    for callback in _WITHIN_A_SLICE:
        if crossing and getattr(type(strategy), callback) is not getattr(Strategy, callback):
            raise StrategyError(
                f"feature {crossing[0]} compares the instruments of a slice, and {callback} is "
                "called before the slice is over",
                where=type(strategy).__name__,
                remedy="decide in on_slice, with ctx.features_of(instrument)",
            )
