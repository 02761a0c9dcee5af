"""Picks feed, clock and venue of a paper or live session by its configuration."""

from __future__ import annotations

from collections.abc import Mapping

from onetape.domain.errors import ConfigError
from onetape.execution.gateway import VenueGateway
from onetape.marketdata.feeds.port import Feed
from onetape.runtime.config import LiveClock, SessionConfig
from onetape.runtime.config_live import Connection
from onetape.runtime.realtime.clock import Clock, FeedClock, MachineClock
from onetape.runtime.sessions.live_run import LiveParts


def build_parts(config: SessionConfig, environ: Mapping[str, str]) -> LiveParts:
    """What connects a session with the world; nothing is connected yet.

    Args:
        config: The configuration.
        environ: Where `env:NAME` secrets are.

    Raises:
        ConfigError: A secret is missing, or a package is not installed.
    """
    is_told = isinstance(config.clock, LiveClock) and config.clock.source == "feed"
    clock: Clock = FeedClock() if is_told else MachineClock()
    feed = _build_feed(config, environ, clock)
    gateway = _build_gateway(config, environ, clock)
    return LiveParts(feed=feed, clock=clock, gateway=gateway)


def _build_feed(config: SessionConfig, environ: Mapping[str, str], clock: Clock) -> Feed:
    raise ConfigError(f"there is no feed {config.data.source!r}", where="data.source")


def _build_gateway(
    config: SessionConfig, environ: Mapping[str, str], clock: Clock
) -> VenueGateway | None:
    if config.execution.venue == "simulated":
        return None
    raise ConfigError(f"there is no venue {config.execution.venue!r}", where="execution.venue")


def read_keys(connection: Connection, environ: Mapping[str, str], where: str) -> tuple[str, str]:
    """Key and secret of a connection.

    Raises:
        ConfigError: One is not given, or can't be found.
    """
    if connection.key is None or connection.secret is None:
        raise ConfigError("a key and a secret are needed", where=where,
                          remedy="say where they are: key: env:NAME, secret: env:NAME")  # fmt: skip
    return (
        connection.key.resolve(environ).get_secret_value(),
        connection.secret.resolve(environ).get_secret_value(),
    )
