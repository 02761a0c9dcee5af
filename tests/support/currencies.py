"""A session in dollars with a share in euros, one in yen, and the pairs between."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind, make_equity
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.risk.limits import RiskLimits
from onetape.strategy.sdk import Strategy
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.timelines import EQUITY, Prices, make_columns

SAP = InstrumentId("SAP.XETR")
SONY = InstrumentId("6758.XTKS")
EURUSD = InstrumentId("EURUSD.FX")
USDJPY = InstrumentId("USDJPY.FX")

EURO_SHARE = make_equity(SAP, currency="EUR", calendar="24/7")
YEN_SHARE = make_equity(SONY, currency="JPY", tick_size="1", lot_size="100", calendar="24/7")


def make_pair(identity: InstrumentId, tick_size: str) -> Instrument:
    """A pair whose symbol is its base and its quote currency."""
    return Instrument(
        id=identity, kind=InstrumentKind.FX, base_currency=identity[:3],
        quote_currency=identity[3:6], tick_size=Decimal(tick_size), lot_size=Decimal(1000),
    )  # fmt: skip


EURO = make_pair(EURUSD, "0.00001")
YEN = make_pair(USDJPY, "0.001")


def make_world(*series: tuple[Instrument, list[Prices]], **how: Any) -> Timeline:
    """Bars of these instruments."""
    return build_timeline(
        [(instrument, make_columns(rows, **how)) for instrument, rows in series],
        source="test", timeframe="1m",
    )  # fmt: skip


def run_currencies(
    timeline: Timeline,
    *strategies: Strategy,
    spread_bps: str = "0",
    capital: float = 100_000,
    limits: RiskLimits | None = None,
    **models: Any,
) -> SessionRun:
    """Run strategies with dollars that may trade everything in `timeline`, on a cash account."""
    terms = msgspec.structs.replace(
        make_terms(timeline, **models), conversion_e8=int(Decimal(spread_bps) * 10_000)
    )
    return run_session(
        timeline, *strategies, capital=capital, limits=limits or RiskLimits(), terms=terms
    )


__all__ = ["EQUITY", "EURO", "EURO_SHARE", "EURUSD", "SAP", "SONY", "USDJPY", "YEN", "YEN_SHARE",
           "make_pair", "make_world", "run_currencies"]  # fmt: skip
