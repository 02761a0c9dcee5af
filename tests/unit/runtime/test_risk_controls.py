"""The account over its strategies, and orders that shrink instead of being denied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.events import (
    OrderApproved,
    OrderDenied,
    OrderShrunk,
    OrderSubmitted,
)
from onetape.domain.instrument import make_spot
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode, OrderIntent, Side
from onetape.execution.simulated.fees import PerShareFees
from onetape.risk.limits import SHRINKING, AccountLimits, RiskLimits, ShortSaleLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.config import ShrinkingGate
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.strategy.context import Context
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.timelines import AAPL, at_rows, flat, make_columns, make_timeline

Action = Callable[[Context], Any]


def run(
    *strategies: dict[int, Action], prices: tuple[float, ...] = (100,) * 6, **how: Any
) -> SessionRun:
    """Strategies on AAPL; nobody may be quarantined."""
    session = run_session(make_timeline(flat(*prices)), *map(at_rows, strategies), **how)
    assert session.quarantined == []
    return session


def shrink(*gates: str, **limits: Any) -> RiskLimits:
    return RiskLimits(shrink=gates, **limits)


# Shrinking.


def test_shrunk_order_stands_on_the_tape_with_gate_and_numbers() -> None:
    session = run(
        {1: lambda ctx: ctx.buy(AAPL, 100)},
        limits=shrink("position_quantity", max_position_quantity=40),
    )
    (intent,) = session.of_type(OrderIntent)
    (step,) = session.of_type(OrderShrunk)
    (approved,) = session.of_type(OrderApproved)
    (command,) = session.of_type(OrderSubmitted)
    assert step == OrderShrunk(
        "s0", 1, AAPL, DenialCode.POSITION_QUANTITY, 100, 40, 100.0, 40.0, "units"
    )
    assert (intent.amount, approved.lots, command.lots) == (100, 40, 40)
    seqs = {type(each.payload): each for each in session.events}
    cause = seqs[OrderIntent].seq
    assert seqs[OrderShrunk].causation_id == seqs[OrderApproved].causation_id == cause
    assert seqs[OrderSubmitted].causation_id == seqs[OrderApproved].seq == cause + 2
    assert [fill.lots for fill in session.fills] == [40]


def test_shrinking_goes_through_every_gate_and_leaves_the_smallest() -> None:
    session = run(
        {1: lambda ctx: ctx.buy(AAPL, 500)},
        limits=shrink(
            "order_quantity", "position_quantity", "buying_power",
            max_order_quantity=300, max_position_quantity=250,
        ),
        capital=20_000,
    )  # fmt: skip
    steps = [(each.code.value, each.asked_lots, each.lots) for each in
             session.of_type(OrderShrunk)]  # fmt: skip
    assert steps == [
        ("order_quantity", 500, 300), ("position_quantity", 300, 250), ("buying_power", 250, 200),
    ]  # fmt: skip


def test_shrunk_order_is_paid_with_its_fee() -> None:
    """100 a share and 1 a share: 198 shares cost 19,998; 199 would cost 20,099 of 20,000."""
    session = run(
        {1: lambda ctx: ctx.buy(AAPL, 500)}, limits=shrink("buying_power"), capital=20_000,
        fees=PerShareFees(rate=1),
    )  # fmt: skip
    (fill,) = session.fills
    assert (fill.lots, fill.fee) == (198, 198 * E8)


@pytest.mark.parametrize("gates", [(), ("order_quantity",)])
def test_limit_that_may_not_shrink_denies(gates: tuple[str, ...]) -> None:
    limits = shrink(*gates, max_position_quantity=40)
    session = run({1: lambda ctx: ctx.buy(AAPL, 100)}, limits=limits)
    assert [each.code for each in session.denied] == [DenialCode.POSITION_QUANTITY]
    assert session.of_type(OrderShrunk) == []


def test_nothing_left_is_denied_by_the_gate() -> None:
    buys = {row: (lambda ctx: ctx.buy(AAPL, 40)) for row in (1, 3)}
    session = run(buys, limits=shrink("position_quantity", max_position_quantity=40))
    (denied,) = session.denied
    assert (denied.code, denied.actual, denied.limit) == (DenialCode.POSITION_QUANTITY, 80, 40)
    assert session.of_type(OrderShrunk) == []


def test_less_than_the_smallest_order_left_is_denied_by_the_instrument() -> None:
    coin = make_spot("BTC-USD.COIN", base="BTC", quote="USD", tick_size="0.01", lot_size="1")
    picky = type(coin)(**{**{f: getattr(coin, f) for f in coin.__struct_fields__}, "min_lots": 50})
    strategy = at_rows({1: lambda ctx: ctx.buy(picky.id, 100)}, instrument=picky.id)
    session = run_session(
        make_timeline((picky, make_columns(flat(*[100] * 4)))), strategy,
        limits=shrink("position_quantity", max_position_quantity=40),
    )  # fmt: skip
    (step,) = session.of_type(OrderShrunk)
    (denied,) = session.denied
    assert (step.asked_lots, step.lots) == (100, 40)
    assert (denied.code, denied.actual, denied.limit) == (DenialCode.LOT_LIMITS, 40, 50)


def test_order_sized_at_the_fill_is_sized_now_when_it_shrinks() -> None:
    session = run(
        {1: lambda ctx: ctx.spend(AAPL, 9_000)},
        limits=shrink("order_quantity", max_order_quantity=25),
    )
    (command,) = session.of_type(OrderSubmitted)
    assert (command.lots, command.budget) == (25, 0)
    assert [fill.lots for fill in session.fills] == [25]


def test_protective_orders_of_a_shrunk_entry_fit_it() -> None:
    """Else the entry would stand without its stop, which would be denied as larger than it."""
    session = run(
        {1: lambda ctx: ctx.bracket(AAPL, Side.BUY, 100, take_profit=150, stop_loss=90)},
        prices=(100, 100, 100, 80, 80, 80),
        limits=shrink("position_quantity", max_position_quantity=40),
    )
    assert session.denied == []
    steps = [(each.code.value, each.asked_lots, each.lots) for each in
             session.of_type(OrderShrunk)]  # fmt: skip
    assert steps == [("position_quantity", 100, 40), *[("reduce_only", 100, 40)] * 2]
    assert [fill.lots * fill.side for fill in session.fills] == [40, -40]


def test_replacement_is_never_shrunk() -> None:
    def grow(ctx: Context) -> None:
        ctx.replace(ctx.open_orders()[-1].client_order_id, AAPL, quantity=100)

    session = run(
        {1: lambda ctx: ctx.buy(AAPL, 30, limit=50), 2: grow},
        limits=shrink("position_quantity", max_position_quantity=40),
    )
    assert [each.code for each in session.denied] == [DenialCode.POSITION_QUANTITY]


# The account.


def test_account_counts_every_strategy_and_their_open_orders() -> None:
    buy = {1: lambda ctx: ctx.buy(AAPL, 400)}
    session = run(
        buy, buy, {1: lambda ctx: ctx.sell(AAPL, 400)},
        limits=RiskLimits(account=AccountLimits(max_gross_exposure_pct=30)),
    )  # fmt: skip
    # 300,000 in all, so 90,000 may be held: two times 40,000, not a third, short or not.
    (denied,) = session.denied
    assert denied == OrderDenied(
        "s2", 1, AAPL, DenialCode.ACCOUNT_GROSS_EXPOSURE, 120_000.0, 90_000.0, "USD"
    )


def test_account_net_exposure_lets_strategies_hedge_one_another() -> None:
    session = run(
        {1: lambda ctx: ctx.buy(AAPL, 500)}, {2: lambda ctx: ctx.sell(AAPL, 500)},
        {3: lambda ctx: ctx.sell(AAPL, 700)},
        limits=RiskLimits(account=AccountLimits(max_net_exposure_pct=20)),
    )  # fmt: skip
    (denied,) = session.denied
    assert (denied.strategy, denied.code) == ("s2", DenialCode.ACCOUNT_NET_EXPOSURE)
    assert (denied.actual, denied.limit) == (70_000, 60_000)


def test_account_leverage_and_reducing_orders() -> None:
    """The strategy that is to blame can't grow; every strategy can close what it holds."""
    session = run(
        {1: lambda ctx: ctx.buy(AAPL, 900), 3: lambda ctx: ctx.sell(AAPL, 900)},
        {1: lambda ctx: ctx.sell(AAPL, 600), 3: lambda ctx: ctx.buy(AAPL, 600)},
        prices=(100, 100, 100, 300, 300, 300),
        limits=RiskLimits(max_leverage=3, account=AccountLimits(max_leverage="0.8")),
    )  # fmt: skip
    # At 300: gross 270,000 + 180,000 on 260,000 of equity, far beyond 0.8; and both may close.
    assert session.denied == []
    assert [fill.lots * fill.side for fill in session.fills] == [900, -600, -900, 600]


LOSS = (100, 100, 100, 96, 96, 96)
"""900 shares lose 3,600: 3.6 % of the strategy's 100,000, and 1.8 % of the account's 200,000."""


@pytest.mark.parametrize(
    ("key", "pct", "denied"),
    [
        ("max_daily_loss_pct", "1.8", None),
        ("max_daily_loss_pct", "1.79", (DenialCode.ACCOUNT_DAILY_LOSS, 3_600.0, 3_580.0)),
        ("max_drawdown_pct", "1.8", None),
        ("max_drawdown_pct", "1.79", (DenialCode.ACCOUNT_DRAWDOWN, 3_600.0, 3_580.0)),
    ],
)
def test_account_loss_is_that_of_the_sum(key: str, pct: str, denied: Any) -> None:
    session = run(
        {1: lambda ctx: ctx.buy(AAPL, 900)}, {3: lambda ctx: ctx.buy(AAPL, 1)}, prices=LOSS,
        limits=RiskLimits(account=AccountLimits(**{key: pct})),
    )  # fmt: skip
    found = [(each.strategy, each.code, each.actual, each.limit) for each in session.denied]
    assert found == ([("s1", *denied)] if denied else [])


def test_account_peak_is_of_the_sum_at_one_time() -> None:
    """One strategy's best moment and the other's are not the account's: it stood still."""
    session = run(
        {0: lambda ctx: ctx.buy(AAPL, 500)}, {0: lambda ctx: ctx.sell(AAPL, 500)},
        {5: lambda ctx: ctx.buy(AAPL, 1)}, prices=(100, 100, 150, 60, 100, 100, 100),
        limits=RiskLimits(max_leverage=4, account=AccountLimits(max_drawdown_pct="0.01")),
    )  # fmt: skip
    assert session.denied == []


def test_account_order_rate_counts_what_leaves_and_nothing_else() -> None:
    """A strategy's own refusal takes no place in the account's minute, nor the other way."""
    buy: Action = lambda ctx: ctx.buy(AAPL, 1)  # noqa: E731
    big: Action = lambda ctx: ctx.buy(AAPL, 50)  # noqa: E731

    def both(ctx: Context) -> None:
        big(ctx)
        buy(ctx)

    limits = RiskLimits(max_order_quantity=10, max_orders_per_minute=2,
                        account=AccountLimits(max_orders_per_minute=3))  # fmt: skip
    session = run({1: both}, {1: both}, {1: both}, {1: both}, limits=limits)
    codes = [each.code.value for each in session.denied]
    assert codes == [*["order_quantity"] * 3, "account_order_rate", "account_order_rate"]
    (*_, last) = session.denied
    assert (last.actual, last.limit, last.unit) == (4, 3, "orders per 60 s")
    assert len(session.fills) == 3


# Where it does not reach.


def test_configuration_and_gates_name_the_same_shrinking_codes() -> None:
    assert get_args(ShrinkingGate) == tuple(each.value for each in SHRINKING)


@pytest.mark.parametrize(
    ("limits", "key"),
    [
        (RiskLimits(shrink=("order_quantity",)), "risk.shrink"),
        (RiskLimits(account=AccountLimits(max_leverage=1)), "risk.account"),
        (RiskLimits(trading_status=True), "risk.trading_status"),
        (RiskLimits(short_sale=ShortSaleLimits(uptick_rule=True)), "risk.short_sale"),
    ],
)
def test_compiled_host_refuses_by_name(limits: RiskLimits, key: str) -> None:
    timeline = make_timeline(flat(1, 2, 3))
    spec = StrategySpec(name="s0", strategy=at_rows({}), capital=E8)
    with pytest.raises(ConfigError, match=f"{key}, which the compiled host does not carry"):
        CompiledHost(timeline, spec, make_terms(timeline), limits)
