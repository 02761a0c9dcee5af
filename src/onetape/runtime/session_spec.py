"""What a session is made of besides its market data: strategies, who it is, how far it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from onetape.domain.instrument import InstrumentId
from onetape.features.estimator import FeatureMap
from onetape.marketdata.timeline import Timeline
from onetape.strategy.sdk import Strategy


class StrategySpec(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy of a session: the object, its name, its capital (minor units), its universe.

    `features` stand in for those of the strategy; None: its own.
    """

    name: str
    strategy: Strategy
    capital: int
    currency: str = "USD"
    version: str = ""
    instruments: tuple[InstrumentId, ...] | None = None
    features: FeatureMap | None = None


class SessionIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What the header of the tape says about a session besides its inputs.

    `session` is the id of one that runs again; empty: made by `compute_session_id`.
    """

    session: str = ""
    config: str = "{}"
    config_hash: str = ""
    seed: int = 0
    mode: str = "backtest"
    feature_versions: dict[str, dict[str, str]] = {}


class Progress(msgspec.Struct, frozen=True):
    """How far a session is. `equity` is the account's, in minor units."""

    rows_done: int
    rows_total: int
    ts: int
    equity: int


OnProgress = Callable[[Progress], None]


def compute_session_id(timeline: Timeline, identity: SessionIdentity) -> str:
    """16 hex digits of what the session is made of: configuration, seed, instruments and data."""
    parts = [identity.config_hash, str(identity.seed)]
    parts += [msgspec.json.encode(each).decode() for each in timeline.instruments]
    parts += [f"{pin.instrument}:{pin.timeframe}:{pin.content_hash}" for pin in timeline.pins]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
