"""Contracts for tests: definitions, and sessions on bars of them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from onetape.domain.events import CashPosted
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
from onetape.domain.margin import MarginAgreement, MarginSchedule, make_schedule
from onetape.domain.market import ContractStep, FundingRate
from onetape.domain.postings import PostingKind
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.portfolio.equity_curve import Marks, compute_equity_curves
from onetape.portfolio.round_trips import pair_round_trips
from onetape.telemetry.run_projection import project_run
from tests.support.session_runs import SessionRun
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


def make_margin(
    timeline: Timeline,
    initial_pct: str = "10",
    maintenance_pct: str = "5",
    schedule: MarginSchedule | None = None,
    **terms: Any,
) -> MarginAgreement:
    """The same schedule for every instrument; `terms` are fields of the agreement."""
    every = schedule or make_schedule(Decimal(initial_pct), Decimal(maintenance_pct))
    return MarginAgreement(schedules={each.id: every for each in timeline.instruments}, **terms)


CARRYING = (PostingKind.BORROW_FEE, PostingKind.MARGIN_INTEREST, PostingKind.CREDIT_INTEREST)
"""What holding costs, which no round trip counts."""


def check_whole(run: SessionRun, timeline: Timeline) -> None:
    """Curve and round trips say of a run what its books say, to the minor unit."""
    events = project_run(run.events).account_events
    marks = Marks(timeline)
    curve = compute_equity_curves(marks, events).account
    trips = pair_round_trips(marks, events)
    ledgers = [each.ledger for each in run.session.runners.values()]
    equity = sum(run.equity(each.strategy) for each in ledgers)
    assert int(curve.equity[-1]) == equity
    assert int(curve.cash[-1]) == sum(each.cash for each in ledgers)
    capital = sum(each.capital for each in ledgers)
    carried = sum(each.amount for each in run.of_type(CashPosted) if each.kind in CARRYING)
    assert sum(each.pnl_net for each in trips) + carried == equity - capital
    for each in ledgers:
        each.check()
