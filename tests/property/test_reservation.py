"""What is approved and has not filled yet counts: no sequence of intents can exceed a limit.

Two strategies on two instruments ask for anything at one moment, at a price that stands still. Then
every order that was approved fills, or not, in any order: a naive book of lots and money finds no
limit broken behind any fill, neither of a strategy nor of the account.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.events import OrderFilled, OrderReplacePending, OrderShrunk, OrderSubmitted
from onetape.domain.orders import Side
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.risk.limits import SHRINKING, AccountLimits, RiskLimits
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from tests.support.session_runs import SessionRun, run_session
from tests.support.timelines import AAPL, EQUITY, MSFT, OTHER, at_rows, flat, make_columns

PRICE = 100
CAPITAL = 20_000
NAMES = ("s0", "s1")

instruments = st.sampled_from([AAPL, MSFT])
lots = st.integers(1, 120)
wishes = st.one_of(
    st.tuples(st.sampled_from(["buy", "sell"]), instruments, lots),
    st.tuples(st.sampled_from(["buy_limit", "sell_limit"]), instruments, lots),
    st.tuples(st.sampled_from(["close", "spend", "target"]), instruments, lots),
    st.tuples(st.just("replace"), instruments, lots),
)
asked = st.lists(st.tuples(st.sampled_from(NAMES), wishes), min_size=1, max_size=9)
held = st.dictionaries(
    st.tuples(st.sampled_from(NAMES), instruments), st.integers(-60, 60), max_size=4
)
limits = st.builds(
    RiskLimits,
    max_position_quantity=st.none() | st.integers(60, 150),
    max_gross_exposure_pct=st.none() | st.integers(90, 150),
    max_leverage=st.sampled_from([None, 2]),
    shrink=st.sampled_from([(), tuple(each.value for each in SHRINKING)]),
    account=st.builds(
        AccountLimits,
        max_gross_exposure_pct=st.none() | st.integers(20, 70),
        max_leverage=st.none() | st.sampled_from(["0.3", "0.8"]),
    ),
)


def make_still_market() -> Timeline:
    """Two instruments at one price, with prices around it that let every order fill."""
    rows = flat(*[PRICE] * 4)
    return build_timeline(
        [(EQUITY, make_columns(rows)), (OTHER, make_columns(rows))], source="still", timeframe="1m"
    )


STILL = make_still_market()


def wish(ctx: Context, kind: str, instrument: Any, quantity: int, last: str) -> str:
    """Ask for one thing; returns the order that a replace would mean."""
    held_now = ctx.position(instrument)
    match kind:
        case "buy":
            return ctx.buy(instrument, quantity)
        case "sell":
            return ctx.sell(instrument, quantity)
        case "buy_limit":
            return ctx.buy(instrument, quantity, limit=PRICE)
        case "sell_limit":
            return ctx.sell(instrument, quantity, limit=PRICE)
        case "close" if held_now > 0:
            return ctx.sell(instrument, quantity, reduce_only=True)
        case "close" if held_now < 0:
            return ctx.buy(instrument, quantity, reduce_only=True)
        case "spend":
            return ctx.spend(instrument, quantity * PRICE)
        case "target":
            return ctx.target(instrument, quantity)
        case "replace" if last:
            ctx.replace(last, instrument, quantity=quantity)
        case _:
            pass
    return last


def play(name: str, start: dict[Any, int], wanted: list[Any]) -> Strategy:
    """A strategy that opens what it holds at the first bar, and asks for all at the third."""

    def open_positions(ctx: Context) -> None:
        for (strategy, instrument), quantity in start.items():
            if strategy == name and quantity:
                (ctx.buy if quantity > 0 else ctx.sell)(instrument, abs(quantity))

    def ask(ctx: Context) -> None:
        last = ""
        for strategy, each in wanted:
            if strategy == name:
                last = wish(ctx, *each, last)

    return at_rows({0: open_positions, 2: ask}, instrument=MSFT)


class NaiveBook:
    """Signed lots and cash, one order at a time."""

    def __init__(self) -> None:
        self.lots: dict[tuple[str, str], int] = {}
        self.cash = dict.fromkeys(NAMES, CAPITAL)

    def fill(self, strategy: str, instrument: str, signed: int, *, reduce_only: bool) -> None:
        at = (strategy, instrument)
        before = self.lots.get(at, 0)
        if reduce_only:
            most = max(0, -before * (1 if signed > 0 else -1))
            signed = min(abs(signed), most) * (1 if signed > 0 else -1)
        self.lots[at] = before + signed
        self.cash[strategy] -= signed * PRICE

    def gross(self, *names: str) -> int:
        return sum(abs(each) * PRICE for (name, _), each in self.lots.items() if name in names)

    def check(self, limit: RiskLimits) -> None:
        most = limit.max_position_quantity
        assert most is None or all(abs(each) <= float(most) for each in self.lots.values())
        for name in NAMES:
            share = limit.max_gross_exposure_pct
            assert share is None or self.gross(name) * 100 <= CAPITAL * float(share)
            assert self.gross(name) <= CAPITAL * float(limit.max_leverage or 1)
            if limit.max_leverage is None:
                assert self.cash[name] >= 0
        account = limit.account
        gross, equity = self.gross(*NAMES), CAPITAL * len(NAMES)
        share, leverage = account.max_gross_exposure_pct, account.max_leverage
        assert share is None or gross * 100 <= equity * float(share)
        assert leverage is None or gross <= equity * float(leverage)


def reserved(run: SessionRun) -> tuple[NaiveBook, dict[str, OrderSubmitted], dict[str, int]]:
    """The books before the moment, the orders of it, and the most that each can fill."""
    book = NaiveBook()
    third = int(STILL.columns["ts_known"][4])
    orders: dict[str, OrderSubmitted] = {}
    most: dict[str, int] = {}
    for event in run.events:
        match event.payload:
            case OrderFilled() as fill if event.ts_event < third:
                book.fill(fill.strategy, fill.instrument, fill.lots * fill.side, reduce_only=False)
            case OrderSubmitted() as order if event.ts_event == third:
                orders[order.client_order_id] = order
                most[order.client_order_id] = order.lots or order.budget // (PRICE * 10**8)
            case OrderReplacePending() as change if event.ts_event == third:
                most[change.client_order_id] = max(most[change.client_order_id], change.lots)
            case _:
                pass
    return book, orders, most


@settings(max_examples=120, deadline=None)
@given(asked=asked, held=held, limit=limits, data=st.data())
def test_no_sequence_of_intents_in_one_step_can_exceed_a_limit(
    asked: list[Any], held: dict[Any, int], limit: RiskLimits, data: st.DataObject
) -> None:
    run = run_session(
        STILL, *(play(name, held, asked) for name in NAMES), capital=CAPITAL, limits=limit
    )
    assert run.quarantined == []
    book, orders, most = reserved(run)
    book.check(limit)
    for identity in data.draw(st.permutations(sorted(orders))):
        order = orders[identity]
        signed = data.draw(st.integers(0, most[identity])) * (1 if order.side > 0 else -1)
        book.fill(order.strategy, order.instrument, signed, reduce_only=order.reduce_only)
        book.check(limit)
    for name in NAMES:
        run.ledger(name).check()


def test_the_worlds_of_the_property_deny_shrink_and_fill() -> None:
    """A property about orders that never came close to a limit would say nothing."""
    wanted = [("s0", ("buy", AAPL, 100)), ("s1", ("sell", MSFT, 100)), ("s0", ("buy", MSFT, 80))]
    account = AccountLimits(max_gross_exposure_pct=60)
    denied = run_session(STILL, *(play(name, {}, wanted) for name in NAMES), capital=CAPITAL,
                         limits=RiskLimits(max_leverage=2, account=account))  # fmt: skip
    # 240 lots may be held in all; s0 decides first: 100, then 80, and 60 are left for s1's 100.
    (refusal,) = denied.denied
    assert (refusal.strategy, refusal.code.value) == ("s1", "account_gross_exposure")
    assert (refusal.actual, refusal.limit, refusal.unit) == (28_000, 24_000, "USD")
    shrunk = run_session(
        STILL, *(play(name, {}, wanted) for name in NAMES), capital=CAPITAL,
        limits=RiskLimits(max_leverage=2, account=account, shrink=("account_gross_exposure",)),
    )  # fmt: skip
    (step,) = shrunk.of_type(OrderShrunk)
    assert (step.strategy, step.asked_lots, step.lots) == ("s1", 100, 60)
    assert shrunk.denied == []
    assert sorted(fill.lots for fill in shrunk.fills) == [60, 80, 100]
    assert {fill.side for fill in shrunk.fills if fill.lots == 60} == {Side.SELL}
