"""How Alpaca is reached: keys, addresses, limits, patience."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from pydantic import SecretStr

PAPER_URL = "https://paper-api.alpaca.markets"
LIVE_URL = "https://api.alpaca.markets"


class AlpacaAccess(msgspec.Struct, frozen=True, kw_only=True):
    """One account at Alpaca, and how its adapter behaves. The keys print as stars.

    Attributes:
        key: Of the API.
        secret: Of the API.
        is_paper: Whether it is the paper endpoint, which has keys of its own.
        base_url: Another address than Alpaca's, such as a local venue: `http://127.0.0.1:8000`.
        stream_url: Of the stream of reports; `base_url`'s `/stream` unless told.
        per_minute: Requests; Alpaca allows 200 a minute.
        burst: Of them at once.
        attempts: How often a request is sent that may be sent again.
        answer_s: Without an answer for so long there is none.
        settle_s: A request without an answer may still arrive for so long; only after it an order
            that the venue does not know is told as `NOT_FOUND`.
        heartbeat_s: Between two pings; one without an answer for as long ends the connection.
        first_wait_s: Before the first attempt to connect again.
        longest_wait_s: Before any attempt.
        skew_s_max: How far its clock may be from ours when the session starts; None: not checked.
        equity_lot: Smallest quantity of an equity. Alpaca takes parts of a share only in DAY
            orders, and not in every type.
        seed: Of the waits' part that is left to chance.
    """

    key: SecretStr
    secret: SecretStr
    is_paper: bool = True
    base_url: str = ""
    stream_url: str = ""
    per_minute: float = 200.0
    burst: int = 20
    attempts: int = 5
    answer_s: float = 10.0
    settle_s: float = 2.0
    heartbeat_s: float = 10.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 30.0
    skew_s_max: float | None = 5.0
    equity_lot: Decimal = Decimal(1)
    seed: int = 0

    @property
    def rest_address(self) -> str:
        """Where requests go."""
        return self.base_url.rstrip("/") or (PAPER_URL if self.is_paper else LIVE_URL)

    @property
    def stream_address(self) -> str:
        """Where reports come from."""
        if self.stream_url:
            return self.stream_url
        scheme, _, rest = self.rest_address.partition("://")
        return f"{'ws' if scheme == 'http' else 'wss'}://{rest}/stream"
