"""What Alpaca says, as it says it.

Source: Alpaca, "Trading API" reference: Orders, Account Activities, Positions, Account, Assets,
Clock; "Websocket Streaming". Numbers are texts there, so that they are exact.
"""

from __future__ import annotations

import msgspec

OPEN_STATUSES = frozenset({
    "new", "accepted", "pending_new", "partially_filled", "pending_cancel", "pending_replace",
    "accepted_for_bidding", "stopped", "suspended", "calculated", "held", "done_for_day",
    "pending_review",
})  # fmt: skip
"""Of orders that may still fill."""


class WireOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order. `replaced_by` and `replaces` are ids of orders; `order_class` may bind others."""

    id: str
    client_order_id: str
    symbol: str
    side: str
    status: str
    type: str = ""
    time_in_force: str = ""
    asset_class: str = "us_equity"
    qty: str | None = None
    notional: str | None = None
    filled_qty: str = "0"
    filled_avg_price: str | None = None
    limit_price: str | None = None
    stop_price: str | None = None
    submitted_at: str | None = None
    filled_at: str | None = None
    canceled_at: str | None = None
    expired_at: str | None = None
    failed_at: str | None = None
    replaced_at: str | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    order_class: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return self.status in OPEN_STATUSES


class WireUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """A message of `trade_updates`; `price` and `qty` are of the execution."""

    event: str
    order: WireOrder
    timestamp: str = ""
    price: str | None = None
    qty: str | None = None
    reason: str = ""


class WireActivity(msgspec.Struct, frozen=True, kw_only=True):
    """An execution, from the account's history. `cum_qty` is the order's filled quantity then."""

    id: str
    order_id: str
    symbol: str
    side: str
    qty: str
    cum_qty: str
    price: str
    transaction_time: str


class WirePosition(msgspec.Struct, frozen=True, kw_only=True):
    """What is held; `qty` is negative where it is short."""

    symbol: str
    qty: str


class WireAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The account."""

    status: str
    currency: str
    cash: str
    trading_blocked: bool = False
    account_blocked: bool = False
    trade_suspended_by_user: bool = False


class WireClock(msgspec.Struct, frozen=True, kw_only=True):
    """Alpaca's clock."""

    timestamp: str
    is_open: bool
