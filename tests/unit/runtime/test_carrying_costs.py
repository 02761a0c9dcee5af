"""What holding costs over a week, by hand."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.events import CashPosted
from onetape.domain.market import CorporateActionKind
from onetape.domain.numbers import minor_to_decimal
from onetape.domain.orders import Side
from onetape.domain.postings import PostingKind
from onetape.domain.timestamps import NS_PER_DAY, from_iso, to_iso
from onetape.execution.simulated.carrying import CarryingModel, build_carrying
from onetape.marketdata.tick_timeline import build_trade_timeline
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.runtime.sessions.recovery import fold_tape
from onetape.runtime.sessions.session_state import encode_state
from onetape.strategy.context import Context
from onetape.strategy.library.buy_and_hold import BuyAndHold
from onetape.strategy.sdk import Strategy
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.parity.test_fold import check
from tests.parity.test_snapshots import open_session, records_of, run_in_parts
from tests.support.actions import make_action, series_of
from tests.support.random_strategies import World, make_world
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.timelines import AAPL, EQUITY, T0, at_rows, flat, make_columns

DAYS = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"]
"""Tuesday to Tuesday, the weekend in the middle."""


def make_week(prices: list[tuple[float, ...]], actions: Any = ()) -> Timeline:
    """Daily bars of 14:30 to 21:00 UTC."""
    columns = make_columns(prices, session=1)
    opens = np.array([from_iso(f"{day}T14:30:00Z") for day in DAYS[: len(prices)]])
    columns["ts_open"] = opens
    for name in ("ts_close", "ts_known", "session_close"):
        columns[name] = opens + 13 * NS_PER_DAY // 48
    return build_timeline([(EQUITY, columns)], source="test", timeframe="1d", actions=actions)


def run_week(
    timeline: Timeline, strategy: Strategy, *, leverage: float = 4, **model: Any
) -> SessionRun:
    rates = {name: value if isinstance(value, int) else Decimal(value)
             for name, value in model.items()}  # fmt: skip
    terms = msgspec.structs.replace(
        make_terms(timeline), carrying=build_carrying(CarryingModel(**rates), timeline.instruments)
    )
    return run_session(timeline, strategy, capital=10_000, terms=terms,
                       limits=RiskLimits(max_leverage=leverage))  # fmt: skip


def posted(run: SessionRun) -> list[tuple[str, str, str]]:
    return [
        (to_iso(each.ts_event)[:10], each.payload.kind.value,
         f"{minor_to_decimal(each.payload.amount):f}".rstrip("0"))
        for each in run.events
        if isinstance(each.payload, CashPosted)
    ]  # fmt: skip


# Day     open  close
WEEK = [(50.0, 50.0, 50.0, 50.0),
        (50.0, 52.0, 50.0, 52.0),
        (52.0, 52.0, 51.0, 51.0),
        (51.0, 51.0, 50.0, 50.0),
        (50.0, 50.0, 49.0, 49.0),
        (49.0, 49.0, 49.0, 49.0)]  # fmt: skip


def short_for_three_nights() -> Strategy:
    """Sells 100 at Wednesday's open, buys them back at Monday's."""
    return at_rows(
        {0: lambda ctx: ctx.sell(AAPL, 100), 3: lambda ctx: ctx.buy(AAPL, 100)}, instrument=AAPL
    )


def test_short_pays_for_every_night_and_three_for_a_weekend() -> None:
    """At 3.6% of 360 days a night costs 1e-4 of the value: 5,200, 5,100, then 3 x 5,000."""
    run = run_week(make_week(WEEK), short_for_three_nights(), borrow_pct="3.6")
    assert posted(run) == [
        ("2024-01-04", "borrow_fee", "-0.52"),
        ("2024-01-05", "borrow_fee", "-0.51"),
        ("2024-01-08", "borrow_fee", "-1.5"),
    ]
    ledger = run.ledger()
    assert minor_to_decimal(ledger.financing) == Decimal("2.53")
    assert minor_to_decimal(ledger.cash) == Decimal("9997.47")
    reasons = [each.reason for each in run.of_type(CashPosted)]
    assert reasons[2] == "3.6% a year on 5,000.00 for 3 of 360 days"


def test_short_pays_on_collateral_when_terms_say_so() -> None:
    """102% of 52 is 53.04, up to a dollar 54; 52.02 counts as 53; 51 stays 51."""
    run = run_week(
        make_week(WEEK), short_for_three_nights(), borrow_pct="3.6", collateral_ratio="1.02",
        collateral_round_up_to="1",
    )  # fmt: skip
    assert [amount for _, _, amount in posted(run)] == ["-0.54", "-0.53", "-1.53"]


def test_cash_below_zero_pays_and_cash_above_zero_receives() -> None:
    """300 bought at 50 leave -5,000; at 7.2% of 360 days a night costs 1.00, over a weekend 3.00.

    The first night bears interest on 10,000 at 3.6%: 1.00; so 4,999.00 are owed on Wednesday night,
    4,999.9998 on Thursday and 5,000.99979996 over the weekend. Sold at 50 on Monday, they leave
    9,995.99960016 until Tuesday.
    """
    strategy = at_rows({0: lambda ctx: ctx.buy(AAPL, 300), 3: lambda ctx: ctx.sell(AAPL, 300)})
    run = run_week(make_week(WEEK), strategy, margin_interest_pct="7.2", credit_interest_pct="3.6")
    assert posted(run) == [
        ("2024-01-03", "credit_interest", "1."),
        ("2024-01-04", "margin_interest", "-0.9998"),
        ("2024-01-05", "margin_interest", "-0.99999996"),
        ("2024-01-08", "margin_interest", "-3.00059988"),
        ("2024-01-09", "credit_interest", "0.99959996"),
    ]


def test_nothing_due_leaves_no_step() -> None:
    strategy = at_rows({0: lambda ctx: ctx.buy(AAPL, 100)})
    timeline = make_week(WEEK)
    plain = run_session(timeline, at_rows({0: lambda ctx: ctx.buy(AAPL, 100)}), capital=10_000)
    charged = run_week(timeline, strategy, borrow_pct="3.6", margin_interest_pct="7.2")
    assert posted(charged) == []
    assert [(each.seq, each.payload) for each in charged.events] == [
        (each.seq, each.payload) for each in plain.events
    ]


def test_split_over_night_leaves_the_fee_as_it_is() -> None:
    """The night before costs what it cost; the next one is of the new shares at the new price."""
    timeline = make_week(
        [*WEEK[:3], *(tuple(price / 2 for price in row) for row in WEEK[3:])],
        [make_action(CorporateActionKind.SPLIT, from_iso("2024-01-05T14:30:00Z"), 2)],
    )
    strategy = at_rows({0: lambda ctx: ctx.sell(AAPL, 100), 3: lambda ctx: ctx.buy(AAPL, 200)})
    run = run_week(timeline, strategy, borrow_pct="3.6")
    assert [amount for _, _, amount in posted(run)] == ["-0.52", "-0.51", "-1.5"]


def test_fees_count_toward_the_loss_of_a_day() -> None:
    """The watch of the loss gates sees the cash that the fees took."""

    def sell(ctx: Context) -> None:
        ctx.sell(AAPL, 100)

    def more(ctx: Context) -> None:
        ctx.sell(AAPL, 1)

    timeline = make_week(flat(50, 50, 50, 50, 50, 50))
    terms = msgspec.structs.replace(make_terms(timeline), carrying=build_carrying(
        CarryingModel(borrow_pct=Decimal(3600)), timeline.instruments
    ))  # fmt: skip
    limits = RiskLimits(max_leverage=4, max_drawdown_pct=9)
    run = run_session(timeline, at_rows({0: sell, 3: more, 4: more}), capital=10_000,
                      terms=terms, limits=limits)  # fmt: skip
    # 500 a night; Friday's decision is 5% below the peak, Monday's 10%, before its own costs.
    assert [each.code.value for each in run.denied] == ["drawdown"]
    assert [fill.side for fill in run.fills] == [Side.SELL, Side.SELL]
    assert minor_to_decimal(run.ledger().financing) == 500 + 500 + 3 * 500 + 505


def stretch(world: World, seed: int) -> World:
    """The same world with six hours for every minute, and rates that leave no night free."""
    series = []
    for instrument, columns in series_of(world.timeline):
        times = {
            name: T0 + (values - T0) * 360
            for name, values in columns.items()
            if name.startswith("ts_") or name == "session_close"
        }
        times["session_close"] = (times["ts_known"] // NS_PER_DAY + 2) * NS_PER_DAY
        series.append((instrument, {**columns, **times}))
    make = build_trade_timeline if world.timeline.kind == "trades" else build_timeline
    how = {} if world.timeline.kind == "trades" else {"timeframe": "6h"}
    timeline = make(series, source="test", **how)
    chance = random.Random(seed)
    model = CarryingModel(
        borrow_pct=Decimal(chance.choice(("0.7", "12.3456"))),
        collateral_ratio=Decimal(chance.choice(("1", "1.02"))),
        margin_interest_pct=Decimal("5.83"), credit_interest_pct=Decimal("1.1"),
        days_per_year=chance.choice((360, 365)),
    )  # fmt: skip
    carrying = build_carrying(model, timeline.instruments)
    terms = msgspec.structs.replace(world.terms, carrying=carrying)
    return replace(world, timeline=timeline, terms=terms)


@pytest.mark.parametrize("trades", [False, True])
def test_session_with_costs_in_parts_equals_the_whole_one_and_its_fold(trades: bool) -> None:
    kinds: set[PostingKind] = set()
    for seed in range(15):
        world = stretch(make_world(seed, rows=40, trades=trades), seed)
        tape = MemoryTape()
        whole = open_session(world, tape)
        whole.run()
        ends = [stop for _, stop in open_session(world, MemoryTape()).cut_blocks(1)]
        stops = random.Random(seed).sample(ends, min(len(ends), 5))
        records, state = run_in_parts(world, sorted(stops))
        assert records == records_of(tape), f"seed {seed}"
        assert encode_state(state) == encode_state(whole.save()), f"seed {seed}"
        reader = MemoryTapeReader(tape)
        check(fold_tape(reader), whole, f"seed {seed}")
        kinds |= {e.payload.kind for e in reader.events() if isinstance(e.payload, CashPosted)}
    assert kinds >= {PostingKind.BORROW_FEE, PostingKind.CREDIT_INTEREST}


def test_compiled_host_refuses_a_session_with_costs() -> None:
    timeline = make_week(WEEK)
    carrying = build_carrying(CarryingModel(borrow_pct=Decimal(1)), timeline.instruments)
    terms = msgspec.structs.replace(make_terms(timeline), carrying=carrying)
    spec = StrategySpec(name="s0", strategy=BuyAndHold(), capital=10**12)
    with pytest.raises(ConfigError, match="interest, which the compiled host does not carry"):
        CompiledHost(timeline, spec, terms, RiskLimits())
