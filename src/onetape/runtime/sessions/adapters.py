"""Picks feed, clock and venue of a paper or live session by its configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import SecretStr

from onetape.domain.errors import ConfigError
from onetape.execution.gateway import VenueGateway
from onetape.marketdata.feeds.port import Feed
from onetape.runtime.config import LiveClock, SessionConfig
from onetape.runtime.config_live import Connection
from onetape.runtime.realtime.clock import Clock, FeedClock, MachineClock, outside
from onetape.runtime.sessions.adoption_lock import name_account
from onetape.runtime.sessions.live_run import LiveParts

if TYPE_CHECKING:
    from onetape.marketdata.feeds.ibkr_link import TwsAccess


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
    account = _name_account(config, environ) if gateway is not None else ""
    return LiveParts(feed=feed, clock=clock, gateway=gateway, account=account)


def _name_account(config: SessionConfig, environ: Mapping[str, str]) -> str:
    reached = config.execution.connection or Connection()
    key = reached.key.resolve(environ).get_secret_value() if reached.key is not None else ""
    return name_account(
        config.execution.venue, reached.endpoint, reached.url, key, reached.host, reached.port,
        reached.client_id, reached.account,
    )  # fmt: skip


def _build_feed(config: SessionConfig, environ: Mapping[str, str], clock: Clock) -> Feed:
    connection = config.data.connection or Connection()
    where = "data.connection"
    _refuse_others(connection, config.data.source, where)
    match config.data.source:
        case "alpaca":
            return _build_alpaca_feed(connection, environ, clock, where, config.seed)
        case "binance":
            return _build_binance_feed(connection, environ, clock, where)
        case "ibkr":
            return _build_ibkr_feed(connection, clock, where, config.seed)
        case other:
            raise ConfigError(f"there is no feed {other!r}", where="data.source")


def _build_alpaca_feed(
    connection: Connection, environ: Mapping[str, str], clock: Clock, where: str, seed: int
) -> Feed:
    from onetape.marketdata.feeds.alpaca import AlpacaFeed
    from onetape.marketdata.feeds.alpaca_connection import AlpacaDataAccess

    key, secret = read_keys(connection, environ, where)
    url, feed = (connection.url or "").rstrip("/"), connection.feed or "iex"
    streams = "ws" + url.removeprefix("http") if url else ""
    access = AlpacaDataAccess(
        key=key,
        secret=secret,
        feed=feed,
        base_url=url,
        assets_url=url,
        stream_url=connection.stream_url or (f"{streams}/v2/{feed}" if url else ""),
        pair_stream_url=f"{streams}/v1beta3/crypto/us" if url else "",
        seed=seed,
    )
    return AlpacaFeed(access, outside(clock))


def _build_gateway(
    config: SessionConfig, environ: Mapping[str, str], clock: Clock
) -> VenueGateway | None:
    connection = config.execution.connection or Connection()
    where = "execution.connection"
    _refuse_others(connection, config.execution.venue, where)
    match config.execution.venue:
        case "simulated":
            return None
        case "alpaca":
            return _build_alpaca(connection, environ, clock, where, config.seed)
        case "binance":
            strategies = [each.name for each in config.strategies]
            return _build_binance(connection, environ, where, strategies)
        case "ibkr":
            return _build_ibkr(connection, clock, where, config.seed)


def _build_alpaca(
    connection: Connection, environ: Mapping[str, str], clock: Clock, where: str, seed: int
) -> VenueGateway:
    from onetape.execution.alpaca.access import AlpacaAccess
    from onetape.execution.alpaca.gateway import AlpacaGateway

    key, secret = read_keys(connection, environ, where)
    access = AlpacaAccess(
        key=key,
        secret=secret,
        is_paper=connection.endpoint == "paper",
        base_url=connection.url or "",
        stream_url=connection.stream_url or "",
        skew_s_max=None if isinstance(clock, FeedClock) else 5.0,
        seed=seed,
    )
    return AlpacaGateway(access, outside(clock))


def _build_binance_feed(
    connection: Connection, environ: Mapping[str, str], clock: Clock, where: str
) -> Feed:
    from onetape.marketdata.feeds.binance import BinanceFeed
    from onetape.marketdata.feeds.binance_client import BinanceSettings

    _refuse_stream_url(connection, where)
    has_key = connection.key is not None or connection.secret is not None
    key, secret = read_keys(connection, environ, where) if has_key else (None, None)
    settings = BinanceSettings(
        endpoint=connection.feed or "live", base_url=connection.url or "", key=key, secret=secret
    )
    return BinanceFeed(settings, clock=outside(clock))


def _build_binance(
    connection: Connection, environ: Mapping[str, str], where: str, strategies: Sequence[str]
) -> VenueGateway:
    from onetape.execution.binance.gateway import BinanceGateway
    from onetape.marketdata.feeds.binance_client import BinanceSettings

    _refuse_stream_url(connection, where)
    key, secret = read_keys(connection, environ, where)
    endpoint = "live" if connection.endpoint == "live" else "testnet"
    settings = BinanceSettings(
        endpoint=endpoint, base_url=connection.url or "", key=key, secret=secret
    )
    return BinanceGateway(settings, strategies)


def _build_ibkr_feed(connection: Connection, clock: Clock, where: str, seed: int) -> Feed:
    from onetape.marketdata.feeds.ibkr import IbkrFeed

    return IbkrFeed(_find_tws(connection, clock, where, seed, client_id=2), outside(clock))


def _build_ibkr(connection: Connection, clock: Clock, where: str, seed: int) -> VenueGateway:
    from onetape.execution.ibkr.gateway import IbkrGateway

    return IbkrGateway(_find_tws(connection, clock, where, seed, client_id=1), outside(clock))


def _find_tws(
    connection: Connection, clock: Clock, where: str, seed: int, *, client_id: int
) -> TwsAccess:
    """Where TWS is; a port of the other endpoint is refused."""
    from onetape.marketdata.feeds.ibkr_link import LIVE_PORTS, PAPER_PORTS, TwsAccess

    is_paper = connection.endpoint == "paper"
    port = connection.port or (7497 if is_paper else 7496)
    program = (LIVE_PORTS if is_paper else PAPER_PORTS).get(port)
    if program is not None:
        other = "live" if is_paper else "paper"
        raise ConfigError(
            f"port {port} is that of {program} with a {other} account, and the endpoint is "
            f"{connection.endpoint}", where=f"{where}.port", remedy=f"say endpoint: {other}, or "
            "another port",
        )  # fmt: skip
    return TwsAccess(
        host=connection.host or "127.0.0.1", port=port,
        client_id=client_id if connection.client_id is None else connection.client_id,
        account=connection.account or "", is_paper=is_paper,
        skew_s_max=None if isinstance(clock, FeedClock) else 5.0, seed=seed,
    )  # fmt: skip


_OF_TWS = ("host", "port", "client_id", "account")
_OF_OTHERS = ("url", "stream_url", "key", "secret", "feed")


def _refuse_others(connection: Connection, provider: str, where: str) -> None:
    """A provider is reached by its own keys of the section only."""
    for name in _OF_OTHERS if provider == "ibkr" else _OF_TWS:
        if getattr(connection, name) is not None:
            raise ConfigError(f"{provider} has no {name}", where=f"{where}.{name}",
                              remedy="leave it out")  # fmt: skip


def _refuse_stream_url(connection: Connection, where: str) -> None:
    if connection.stream_url is not None:
        raise ConfigError("binance's streams follow its url", where=f"{where}.stream_url",
                          remedy="leave it out")  # fmt: skip


def read_keys(
    connection: Connection, environ: Mapping[str, str], where: str
) -> tuple[SecretStr, SecretStr]:
    """Key and secret of a connection, in a type that prints as stars.

    Raises:
        ConfigError: One is not given, or can't be found.
    """
    if connection.key is None or connection.secret is None:
        raise ConfigError("a key and a secret are needed", where=where,
                          remedy="say where they are: key: env:NAME, secret: env:NAME")  # fmt: skip
    return connection.key.resolve(environ), connection.secret.resolve(environ)
