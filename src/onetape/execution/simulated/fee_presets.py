"""Fee models of known brokers and venues, ready to use.

Published prices change: each preset names its source and date, and none knows what an account has
negotiated. Regulatory rates follow the date of the fill (`fee_rates`); commissions don't, a preset
charges the prices of its date also on older data.
"""

from __future__ import annotations

from decimal import Decimal

from onetape.domain.errors import ConfigError
from onetape.domain.numbers import Number
from onetape.execution.simulated.fee_rates import US_EQUITY_SALES
from onetape.execution.simulated.fees import (
    BpsFees,
    PerShareFees,
    PerShareTieredFees,
    SaleFees,
    ShareTier,
)

_BINANCE_SPOT = (
    ("10", "10"),
    ("9", "10"),
    ("8", "10"),
    ("7", "10"),
    ("7", "9"),
    ("6", "8"),
    ("5", "7"),
    ("4", "6"),
    ("3", "5"),
    ("2", "4"),
)
"""Maker and taker bps by VIP level."""


def make_ibkr_us_fixed() -> PerShareFees:
    """Interactive Brokers Pro, US stocks, fixed pricing.

    0.005 a share, at least 1.00 and at most 1 % of the trade value an order, exchange and clearing
    fees included; SEC fee and TAF on sales.
    Ignores: orders routed by hand, fractional shares (minimum 0.01), audit trail fees.
    Source: interactivebrokers.com, Commissions, Stocks (with worked examples), as of 2025.
    """
    return PerShareFees(
        rate="0.005", minimum="1", maximum_ratio="0.01", sales=SaleFees(rates=US_EQUITY_SALES)
    )


def make_ibkr_us_tiered(maker_rate: Number = 0, taker_rate: Number = "0.003") -> PerShareTieredFees:
    """Interactive Brokers Pro, US stocks, tiered pricing.

    0.0035 to 0.0005 a share by the month's shares, at least 0.35 and at most 1 % of the trade value
    an order; clearing (NSCC, DTC) 0.0002 a share, at most 0.5 % of the trade value; pass-through
    fees of NYSE (0.000175) and FINRA (0.00056) on the commission; SEC fee and TAF on sales.

    Args:
        maker_rate: What the exchange takes a share for adding liquidity; negative is a rebate. It
            depends on exchange and month: none is counted unless told.
        taker_rate: For removing it; 0.003 is the most that Rule 610 of Regulation NMS has allowed.

    Ignores: as `make_ibkr_us_fixed`.
    Source: interactivebrokers.com, Commissions, Stocks, and its "Fixed vs. Tiered Pricing
        Comparison Examples", as of 2023 to 2025.
    """
    tiers = (("0", "0.0035"), ("300000", "0.002"), ("3000000", "0.0015"),
             ("20000000", "0.001"), ("100000000", "0.0005"))  # fmt: skip
    return PerShareTieredFees(
        tiers=tuple(ShareTier(from_quantity=start, rate=rate) for start, rate in tiers),
        minimum="0.35",
        maximum_ratio="0.01",
        maker_rate=maker_rate,
        taker_rate=taker_rate,
        clearing_rate="0.0002",
        clearing_maximum_ratio="0.005",
        pass_through_ratio="0.000735",
        sales=SaleFees(rates=US_EQUITY_SALES),
    )


def make_alpaca_us() -> PerShareFees:
    """Alpaca, US stocks: no commission; SEC fee and TAF on sales, each rounded up to a cent.

    Rounded up for every order, which is never less than what Alpaca does at the end of a day.
    Source: alpaca.markets, Regulatory Fees, and the blog post "REG/TAF Fee Updates" with a worked
        example, as of 2024.
    """
    return PerShareFees(rate=0, sales=SaleFees(rates=US_EQUITY_SALES, round_up_to="0.01"))


def make_binance_spot(vip: int = 0, *, pays_in_bnb: bool = False) -> BpsFees:
    """Binance spot: a share of the notional by VIP level; 25 % less when paid in BNB.

    Ignores: that the fee is taken in what was received or in BNB (here in the quote currency);
        pairs and months with lower fees. The level does not follow the volume.
    Source: binance.com announcements of 2021-12-15 and 2022-05-31 ("previous" column), the standard
        fees before a promotion; levels from 3 on have been cheaper since.

    Args:
        vip: Level, 0 to 9.
        pays_in_bnb: Whether fees are paid in BNB.

    Raises:
        ConfigError: There is no such level.
    """
    if not 0 <= vip < len(_BINANCE_SPOT):
        raise ConfigError(
            f"there is no VIP level {vip}",
            where="execution.fees.vip",
            remedy=f"levels go from 0 to {len(_BINANCE_SPOT) - 1}",
        )
    share = Decimal("0.75") if pays_in_bnb else Decimal(1)
    maker, taker = (Decimal(bps) * share for bps in _BINANCE_SPOT[vip])
    return BpsFees(maker_bps=maker, taker_bps=taker)
