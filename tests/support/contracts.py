"""Contracts for tests: definitions, and sessions on bars of them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from onetape.domain.instrument import (
    ExerciseStyle,
    FutureTerms,
    Instrument,
    InstrumentId,
    InstrumentKind,
    OptionRight,
    OptionTerms,
    PerpetualTerms,
)
from onetape.domain.market import ContractStep, FundingRate
from onetape.marketdata.timeline import Timeline, build_timeline
from tests.support.timelines import AAPL, Prices, make_columns

LINEAR = Instrument(
    id=InstrumentId("BTCUSD-PERP.VENUE"), kind=InstrumentKind.PERPETUAL, quote_currency="USD",
    base_currency="BTC", tick_size=Decimal("0.1"), lot_size=Decimal("0.001"),
    terms=PerpetualTerms(),
)  # fmt: skip
"""A thousandth of a bitcoin, settled in dollars."""

INVERSE = Instrument(
    id=InstrumentId("BTCUSD-INV.VENUE"), kind=InstrumentKind.PERPETUAL, quote_currency="USD",
    base_currency="BTC", tick_size=Decimal("0.5"), lot_size=Decimal(1), multiplier=Decimal(100),
    terms=PerpetualTerms(inverse=True),
)  # fmt: skip
"""100 dollars, settled in bitcoin."""


def make_future(ts_expiry: int, name: str = "ESH4.XCME") -> Instrument:
    """50 times an index in quarters of a point."""
    return Instrument(
        id=InstrumentId(name), kind=InstrumentKind.FUTURE, quote_currency="USD",
        tick_size=Decimal("0.25"), lot_size=Decimal(1), multiplier=Decimal(50),
        terms=FutureTerms(underlying="ES", ts_expiry=ts_expiry),
    )  # fmt: skip


def make_option(
    ts_expiry: int,
    *,
    right: OptionRight = OptionRight.CALL,
    strike: str = "100",
    exercise: ExerciseStyle = ExerciseStyle.AMERICAN,
    cash_settled: bool = False,
    underlying: InstrumentId = AAPL,
    name: str = "AAPL-OPT.OPRA",
) -> Instrument:
    """On 100 shares, in cents."""
    return Instrument(
        id=InstrumentId(name), kind=InstrumentKind.OPTION, quote_currency="USD",
        tick_size=Decimal("0.01"), lot_size=Decimal(1), multiplier=Decimal(100),
        terms=OptionTerms(
            underlying=underlying, strike=Decimal(strike), right=right, exercise=exercise,
            ts_expiry=ts_expiry, cash_settled=cash_settled,
        ),
    )  # fmt: skip


def make_contract_timeline(
    *series: tuple[Instrument, Sequence[Prices]],
    steps: Sequence[ContractStep] = (),
    session: int = 1_000,
) -> Timeline:
    """Minute bars; a trading session is `session` of them."""
    return build_timeline(
        [(each, make_columns(list(rows), session=session)) for each, rows in series],
        source="test",
        timeframe="1m",
        steps=steps,
    )


def make_funding(
    ts: int, rate: float, instrument: Instrument = LINEAR, mark: float = 0.0
) -> FundingRate:
    """Funding at `ts` (ns UTC)."""
    return FundingRate(instrument=instrument.id, ts_event=ts, ts_known=ts, rate=rate, mark=mark)
