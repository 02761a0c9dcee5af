"""Margin beside gates that shrink and limits of the account; by hand, and against one lot more."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.events import OrderShrunk
from onetape.domain.instrument import Instrument
from onetape.domain.margin import Ladder, MarginSchedule, make_ladder
from onetape.execution.simulated.fees import BpsFees
from onetape.risk.limits import AccountLimits, RiskLimits
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from tests.support.contracts import LINEAR, make_contract_timeline, make_margin
from tests.support.session_runs import SessionRun, run_session
from tests.support.timelines import at_rows, flat

ETH = LINEAR.__class__(
    **{
        name: getattr(LINEAR, name)
        for name in ("kind", "quote_currency", "tick_size", "lot_size", "terms")
    },
    id="ETHUSD-PERP.VENUE",
)
WORLD = make_contract_timeline((LINEAR, flat(*[50_000] * 4)), (ETH, flat(*[2_000] * 4)))
Act = Callable[[Context], object]


def trade(*acts: Act, limits: RiskLimits, capital: float = 6_000, **models: Any) -> SessionRun:
    """One strategy an act, at 10 % initial margin unless told."""
    strategies: list[Strategy] = [at_rows({0: act}, instrument=ETH.id) for act in acts]
    models.setdefault("margin", make_margin(WORLD))
    return run_session(WORLD, *strategies, capital=capital, limits=limits, **models)


def shrunk(run: SessionRun) -> list[tuple[str, str, int, int, float, float]]:
    return [
        (each.strategy, each.code.value, each.asked_lots, each.lots, each.actual, each.limit)
        for each in run.of_type(OrderShrunk)
    ]


def buy(quantity: float, of: Instrument = LINEAR, limit: float | None = None) -> Act:
    return lambda ctx: ctx.buy(of.id, quantity, limit=limit)


# A bitcoin at 50,000 needs 5,000, so 6,000 carry 1.2. With a fee of 10 bps one needs 5,050:
# 1.188 of them are 5,999.40, a thousandth more 6,004.45. An open buy of 0.5 binds
# 2,500, at the mark and not at its limit, which leaves 0.7.
def test_buying_power_on_margin_leaves_what_is_backed() -> None:
    limits = RiskLimits(shrink=("buying_power",))
    run = trade(buy(2), limits=limits)
    assert shrunk(run) == [("s0", "buying_power", 2_000, 1_200, 10_000, 6_000)]
    assert [each.lots for each in run.fills] == [1_200]
    fees = BpsFees(maker_bps=Decimal(10), taker_bps=Decimal(10))
    assert shrunk(trade(buy(2), limits=limits, fees=fees))[0][3] == 1_188
    both = trade(lambda ctx: (buy(0.5, limit=40_000)(ctx), buy(2)(ctx)), limits=limits)
    assert shrunk(both) == [("s0", "buying_power", 2_000, 700, 12_500, 6_000)]


# The account has 12,000 and a leverage of 5: 60,000. Of 50,000 and 25,000 the second is cut to
# 10,000, which is 0.2. Where both gates cut, the account speaks first and the margin after it.
def test_limits_of_the_account_shrink_beside_margin() -> None:
    limits = RiskLimits(
        shrink=("account_leverage", "buying_power"), account=AccountLimits(max_leverage=5)
    )
    run = trade(buy(1), buy(0.5), limits=limits)
    assert shrunk(run) == [("s1", "account_leverage", 500, 200, 75_000, 60_000)]
    run = trade(buy(0.1), buy(3), limits=limits)
    assert shrunk(run) == [("s1", "account_leverage", 3_000, 1_100, 155_000, 60_000)]
    wider = RiskLimits(
        shrink=("account_leverage", "buying_power"), account=AccountLimits(max_leverage=10)
    )
    run = trade(buy(0.1), buy(3), limits=wider)
    assert shrunk(run) == [
        ("s1", "account_leverage", 3_000, 2_300, 155_000, 120_000),
        ("s1", "buying_power", 2_300, 1_200, 11_500, 6_000),
    ]
    assert {each.strategy: each.lots for each in run.fills} == {"s0": 100, "s1": 1_200}
    denied = trade(buy(1), buy(0.5), limits=RiskLimits(account=AccountLimits(max_leverage=5)))
    assert [(each.code.value, each.actual) for each in denied.denied] == [
        ("account_leverage", 75_000)
    ]


# Long 1 bitcoin (5,000); 10 % of the larger side. 25 ether short are 50,000 too: no more is needed.
# Of 40, 30 are backed: 60,000 and 10 % are 6,000.
def test_portfolio_margin_shrinks_by_the_larger_side() -> None:
    limits = RiskLimits(shrink=("buying_power",))
    margin = make_margin(WORLD, is_portfolio=True)

    def hedge(ctx: Context) -> None:
        ctx.buy(LINEAR.id, 1)
        ctx.sell(ETH.id, 25)

    assert shrunk(trade(hedge, limits=limits, margin=margin)) == []

    def too_much(ctx: Context) -> None:
        ctx.buy(LINEAR.id, 1)
        ctx.sell(ETH.id, 40)

    assert shrunk(trade(too_much, limits=limits, margin=margin)) == [
        ("s0", "buying_power", 40_000, 30_000, 8_000, 6_000)
    ]


LADDER = make_ladder(
    [
        Ladder(notional_from=Decimal(0), initial_pct=Decimal(4), maintenance_pct=Decimal(2)),
        Ladder(notional_from=Decimal(20_000), initial_pct=Decimal(10), maintenance_pct=Decimal(5)),
    ]
)
worlds = st.fixed_dictionaries(
    {
        "capital": st.integers(500, 20_000),
        "schedule": st.sampled_from([None, LADDER]),
        "is_portfolio": st.booleans(),
        "held": st.integers(-300, 300),
        "waits": st.integers(0, 300),
        "asked": st.integers(1, 4_000),
        "sells": st.booleans(),
    }
)


def ask(world: dict[str, Any], lots: int, shrink: tuple[str, ...] = ()) -> SessionRun:
    """Hold something, have a buy wait, then ask for so many lots."""
    schedule: MarginSchedule | None = world["schedule"]
    margin = make_margin(WORLD, schedule=schedule, is_portfolio=world["is_portfolio"])

    def begin(ctx: Context) -> None:
        if world["held"]:
            ctx.target(LINEAR.id, world["held"] / 1_000)

    def go_on(ctx: Context) -> None:
        if world["waits"]:
            ctx.buy(LINEAR.id, world["waits"] / 1_000, limit=45_000)
        (ctx.sell if world["sells"] else ctx.buy)(ETH.id, lots / 1_000)

    return run_session(
        WORLD, at_rows({0: begin, 1: go_on}, instrument=ETH.id), capital=world["capital"],
        margin=margin, limits=RiskLimits(shrink=shrink),
    )  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(worlds)
def test_what_shrinking_leaves_passes_and_one_lot_more_does_not(world: dict[str, Any]) -> None:
    run = ask(world, world["asked"], ("buying_power",))
    left = run.of_type(OrderShrunk)
    if not left or left[0].instrument != ETH.id:  # else what is held was shrunk, and is here only
        return
    (step,) = left
    passes, fails = (
        [each for each in ask(world, lots).denied if each.instrument == ETH.id]
        for lots in (step.lots, step.lots + 1)
    )
    assert not passes
    assert [each.code.value for each in fails] == ["buying_power"]
