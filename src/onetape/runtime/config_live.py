"""What only paper and live sessions are told: connections, and what to do in trouble."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema

from onetape.runtime.config_section import Section
from onetape.runtime.config_values import RefusedError, SecretRef


def _check_address(url: str) -> str:
    """Refuses what no client could ask; what it shows is without a password."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in _SCHEMES and bool(parts.hostname)
    except ValueError:
        is_address = False
    if not is_address:
        shown = url.rpartition("@")[2]
        raise RefusedError(
            f"is {shown!r}, which is no address",
            "write it like http://127.0.0.1:8765, a stream's like wss://...",
        )
    return url


_SCHEMES = ("http", "https", "ws", "wss")
_Secret = Annotated[SecretRef, WithJsonSchema({"type": "string", "title": "reference"})]
_Text = Annotated[str, Field(min_length=1)]
_Address = Annotated[_Text, AfterValidator(_check_address)]


class Connection(Section):
    """How a feed or a venue is reached. Keys are references, never values."""

    endpoint: Literal["paper", "live"] = "paper"
    """Which of the provider's endpoints; `live` is real money."""
    url: _Address | None = None
    """Another address for requests, such as that of a local venue; null: the provider's."""
    stream_url: _Address | None = None
    """Another address for streams; null: the provider's, or by `url`."""
    key: _Secret | None = None
    """Where the key is: env:NAME, file:PATH or keyring:SERVICE/USER."""
    secret: _Secret | None = None
    """Where the secret is."""
    feed: _Text | None = None
    """Which tape of the provider, such as iex or sip; null: its default."""
    host: _Text | None = None
    """Where TWS or IB Gateway runs; null: this machine. Of ibkr only, like the next three."""
    port: Annotated[int, Field(strict=True, ge=1, le=65_535)] | None = None
    """Its socket; null: TWS's of the endpoint, 7497 for paper and 7496 for live."""
    client_id: Annotated[int, Field(strict=True, ge=0, le=2_147_483_647)] | None = None
    """Number of this connection, which no other one has; null: 1 for orders, 2 for data. 0 may
    change orders that were given in TWS."""
    account: _Text | None = None
    """Code of the account; null: the only one of the login."""


class LiveConfig(Section):
    """How a paper or live session behaves."""

    on_stop: Literal["keep", "cancel"] = "cancel"
    """Open orders when the session is asked to stop."""
    outage: Literal["pause", "go_on"] = "pause"
    """Entries while the feed is down or silent."""
    stale_seconds: Annotated[float, Field(gt=0)] = 120.0
    """Silence of the feed, in an open market, that counts as an outage."""
    look_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Time between two looks at the venue's books."""
    callback_seconds: Annotated[float, Field(gt=0)] = 5.0
    """Time a strategy may take for one callback; then it is taken out."""
    stop_seconds: Annotated[float, Field(gt=0)] = 20.0
    """How long a stopping session waits for its orders to be answered."""
    foreign_orders: Literal["ignore", "stop", "adopt"] = "stop"
    """Orders at the venue that are not ours: left alone, nothing opens until they are gone, or a
    strategy gets them and what it can't get stops."""
    adopt_into: _Text | None = None
    """Which strategy gets them; null: the only one that trades the instrument."""
    foreign_positions: Literal["ignore", "stop"] = "stop"
    """What the account holds beyond the strategies: nobody's, or nothing opens until it is gone."""
    foreign_cash: Literal["ignore", "stop"] = "stop"
    """Cash that came or went by itself: nobody's, or nothing opens until it is explained."""
    power_loss: bool = True
    """Whether every commit of the tape waits for the disk; false survives a kill of the process."""
    inbox: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 10_000
    """Inputs that may wait; feeds are held back beyond."""
    without_backtest: bool = False
    """Whether `live` may begin without a verified backtest of the same strategy version."""
