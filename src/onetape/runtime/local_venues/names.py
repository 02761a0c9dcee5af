"""What the command line needs of local venues before it loads one."""

from __future__ import annotations

from enum import Enum

LOOPBACK = "127.0.0.1"
"""The only address that a local venue listens on: its keys are no secrets."""

ACCOUNT = "local"
"""The account of a local venue that is started whole."""


class VenueName(Enum):
    """Venues that have a local twin."""

    ALPACA = "alpaca"
    BINANCE = "binance"
    IBKR = "ibkr"
