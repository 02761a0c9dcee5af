"""The drift monitors of a session: its strategies' features, row by row, an alert a time slice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from onetape.domain.errors import StrategyError
from onetape.domain.events import FeatureDrifted
from onetape.domain.instrument import InstrumentId
from onetape.features.drift import DriftMonitor, DriftSettings, DriftState
from onetape.features.estimator import FeatureMap


class Watched(NamedTuple):
    """A strategy whose features are watched, over what it is subscribed to."""

    strategy: str
    features: FeatureMap
    instruments: Sequence[InstrumentId]


class WatchState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a `DriftWatch` knows between two slices: strategy, instrument, and that monitor's."""

    monitors: list[tuple[str, InstrumentId, DriftState]]


class DriftWatch:
    """Watches the features of a session's strategies, each over each of its instruments by itself.

    A backtest moves it over its feature columns before it runs, a live session slice by slice. The
    same rows give the same alerts in the same order: of strategies and instruments as they were
    given, whatever order the rows of a slice come in.

    Args:
        watched: The strategies; one without features is not watched.
        settings: Windows and thresholds.
    """

    def __init__(self, watched: Iterable[Watched], settings: DriftSettings) -> None:
        self._monitors: dict[tuple[str, InstrumentId], DriftMonitor] = {}
        for strategy, features, instruments in watched:
            if features:
                warm_up = max(each.warm_up for each in features.values())
                for each in instruments:
                    monitor = DriftMonitor(tuple(features), warm_up, settings)
                    self._monitors[strategy, each] = monitor
        self._places = {key: at for at, key in enumerate(self._monitors)}
        self._found: list[tuple[int, FeatureDrifted]] = []

    def take(self, strategy: str, instrument: InstrumentId, values: Sequence[float]) -> None:
        """A row of features, in the order of the strategy's; of what is not watched: nothing."""
        monitor = self._monitors.get((strategy, instrument))
        if monitor is None:
            return
        for each in monitor.update(values):
            drifted = FeatureDrifted(strategy, instrument, *each)
            self._found.append((self._places[strategy, instrument], drifted))

    def end_slice(self) -> list[FeatureDrifted]:
        """What has drifted as of the rows since the last call."""
        if not self._found:
            return []
        found = sorted(self._found, key=lambda each: each[0])
        self._found = []
        return [drifted for _, drifted in found]

    def save(self) -> WatchState:
        """Everything needed to go on from here; between two slices."""
        return WatchState(monitors=[(*key, each.save()) for key, each in self._monitors.items()])

    def restore(self, state: WatchState) -> None:
        """Go on where `state` was saved.

        Raises:
            StrategyError: It is of other strategies, instruments, features or settings.
        """
        keys = [(strategy, instrument) for strategy, instrument, _ in state.monitors]
        if keys != list(self._monitors):
            raise StrategyError(
                f"drift was watched of {_tell(keys)}, and is now of {_tell(list(self._monitors))}",
                where="drift",
                remedy="keep strategies and instruments as they were",
            )
        for strategy, instrument, each in state.monitors:
            self._monitors[strategy, instrument].restore(each)
        self._found = []


def _tell(keys: Sequence[tuple[str, InstrumentId]]) -> str:
    return ", ".join(f"{strategy} over {instrument}" for strategy, instrument in keys) or "nothing"
