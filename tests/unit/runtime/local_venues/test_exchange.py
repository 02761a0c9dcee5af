"""A local exchange: what it checks, what it says, and its books to the last unit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from onetape.domain.errors import ConfigError, DataError
from onetape.domain.instrument import Instrument, make_equity, make_spot
from onetape.domain.market import CorporateActionKind
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderType, Side, TimeInForce
from onetape.execution.simulated.fees import (
    BpsFees,
    FeeTier,
    NoFees,
    PerOrderFees,
    TieredFees,
)
from onetape.execution.simulated.latency import LatencyModel
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.runtime.local_venues.accounts import ExchangeRules
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.messages import (
    Balance,
    Changes,
    EndCause,
    Holding,
    MarketRow,
    NewOrder,
    PlacedStatus,
    RefusalCode,
    UpdateKind,
)
from tests.support.actions import DELISTING, DIVIDEND, PAYMENT, SPLIT, make_action
from tests.support.local_venues import (
    ME,
    PAIRS,
    SHARES,
    hear,
    make_exchange,
    placed,
    refused,
    updates,
)
from tests.support.session_runs import make_terms
from tests.support.ticks import make_quote_timeline
from tests.support.timelines import MINUTE, SECOND, T0, Prices, closes, flat, make_columns, opens

COIN = make_spot("BTCUSDT.BINANCE", base="BTC", quote="USDT", tick_size="0.01", lot_size="0.00001")
SHARE = make_equity("AAPL.ALPACA")


def make_timeline(rows: list[Prices], instrument: Instrument = COIN, **how: int) -> Timeline:
    return build_timeline([(instrument, make_columns(rows, **how))], source="test", timeframe="1m")


def pairs(*prices: float, **how: Any) -> LocalExchange:
    return make_exchange(make_timeline(flat(*prices)), PAIRS, **how)


def shares(*prices: float, rules: ExchangeRules = SHARES, **how: Any) -> LocalExchange:
    return make_exchange(make_timeline(flat(*prices), SHARE), rules, **how)


def order(side: Side, quantity: str = "0", **fields: Any) -> NewOrder:
    fields = {"symbol": "BTCUSDT", "client_order_id": "a", "order_type": OrderType.MARKET, **fields}
    for name in ("budget", "limit", "stop", "trail", "trail_ratio", "display"):
        if name in fields:
            fields[name] = Decimal(fields[name])
    if "limit" in fields and fields["order_type"] is OrderType.MARKET:
        fields["order_type"] = OrderType.LIMIT
    return NewOrder(side=side, quantity=Decimal(quantity), **fields)


def share(side: Side, quantity: str = "0", **fields: Any) -> NewOrder:
    return order(side, quantity, **{"symbol": "AAPL", **fields})


def test_buy_of_a_pair_pays_its_fee_in_what_it_buys_and_a_sale_in_what_it_gets() -> None:
    """Binance: "trading fees are taken in the asset that is received"; 0.1 % of 0.5 BTC."""
    exchange = pairs(40_000, 41_000, 42_000)
    exchange.step()
    placed(exchange.submit(ME, order(Side.BUY, "0.5")))
    exchange.step()
    books = exchange.books(ME)
    assert books.balances["USDT"] == Balance(total=79_500 * E8)
    assert books.balances["BTC"] == Balance(total=49_950_000)
    assert books.fees == {"BTC": 50_000}
    placed(exchange.submit(ME, order(Side.SELL, "0.4995")))
    exchange.step()
    books = exchange.books(ME)
    # 0.4995 * 42,000 = 20,979.00 less 20.979
    assert books.balances == {
        "BTC": Balance(total=0),
        "USD": Balance(total=100_000 * E8),
        "USDT": Balance(total=79_500 * E8 + 20_958_021 * E8 // 1000),
    }
    assert [each.fee_asset for each in books.executions] == ["BTC", "USDT"]


@pytest.mark.parametrize(("group", "second"), [("", "0.50"), ("1", "1")])
def test_fees_by_volume_count_what_was_traded_under_the_same_fees(group: str, second: str) -> None:
    """1,000 of one share, then of another: 10 bps of each, or then 5 where both count together."""
    other = make_equity("MSFT.ALPACA")
    timeline = build_timeline(
        [(each, make_columns(flat(10, 10, 10, 10))) for each in (SHARE, other)],
        source="test", timeframe="1m",
    )  # fmt: skip
    tiers = TieredFees(
        tiers=(
            FeeTier(from_notional=0, maker_bps=10, taker_bps=10),
            FeeTier(from_notional=900, maker_bps=5, taker_bps=5),
        )
    )
    terms = make_terms(timeline, fees=tiers)
    terms = msgspec.structs.replace(terms, fee_groups={other.id: group})
    exchange = LocalExchange(timeline, terms, SHARES, {ME: {"USD": 100_000 * E8}})
    exchange.step()
    exchange.step()
    for symbol in ("AAPL", "MSFT"):
        placed(exchange.submit(ME, order(Side.BUY, "100", symbol=symbol, client_order_id=symbol)))
    for _ in range(6):
        exchange.step()
    assert [each.fee for each in exchange.books(ME).executions] == [1 * E8, Decimal(second) * E8]


def test_open_orders_hold_what_they_would_cost_until_they_end() -> None:
    exchange = pairs(40_000, 40_000, 40_000)
    exchange.step()
    first = placed(exchange.submit(ME, order(Side.BUY, "1", limit="30000")))
    assert exchange.books(ME).balances["USDT"] == Balance(total=100_000 * E8, held=30_000 * E8)
    answer = refused(exchange.submit(ME, order(Side.BUY, "2", limit="36000", client_order_id="b")))
    assert (answer.code, answer.needed, answer.available) == (
        RefusalCode.INSUFFICIENT_BALANCE, Decimal(72_000), Decimal(70_000),
    )  # fmt: skip
    changed = placed(exchange.replace(ME, first.number, Changes(limit=Decimal("20000"))))
    assert (changed.number, changed.limit_ticks) == (first.number, 2_000_000)
    assert exchange.books(ME).balances["USDT"].held == 20_000 * E8
    gone = placed(exchange.cancel(ME, first.number))
    assert (gone.status, gone.cause) == (PlacedStatus.CANCELED, EndCause.CLIENT)
    assert exchange.books(ME).balances["USDT"].held == 0
    assert refused(exchange.cancel(ME, first.number)).code is RefusalCode.ORDER_CLOSED
    assert refused(exchange.cancel(ME, 99)).code is RefusalCode.UNKNOWN_ORDER


def test_market_order_that_the_balance_can_not_pay_at_its_fill_is_cut_there() -> None:
    exchange = pairs(40_000, 50_000)
    heard = hear(exchange)
    exchange.step()
    placed(exchange.submit(ME, order(Side.BUY, "2.5")))
    exchange.step()
    books = exchange.books(ME)
    assert books.balances["USDT"] == Balance(total=0)
    assert books.balances["BTC"] == Balance(total=2 * E8 - 200_000)
    last = updates(heard)[-1]
    assert (last.kind, last.order.cause) == (UpdateKind.CANCELED, EndCause.FUNDS)
    assert last.order.filled_lots == 200_000


def test_budget_is_spent_whole_and_holds_itself() -> None:
    exchange = pairs(40_000, 50_000)
    exchange.step()
    taken = placed(exchange.submit(ME, order(Side.BUY, budget="1000")))
    assert taken.held == 1_000 * E8
    assert refused(exchange.replace(ME, taken.number, Changes())).code is RefusalCode.UNSUPPORTED
    exchange.step()
    done = exchange.find(ME, client_order_id="a")
    assert done is not None
    assert (done.status, done.lots, done.filled_notional) == (
        PlacedStatus.FILLED, 2_000, 1_000 * E8,
    )  # fmt: skip


def test_sale_by_budget_is_sized_at_the_price_and_never_sells_what_is_not_there() -> None:
    accounts = {ME: {"BTC": E8, "USDT": 0}}
    exchange = pairs(40_000, 20_000, accounts=accounts)
    exchange.step()
    assert refused(exchange.submit(ME, order(Side.SELL, budget="40001"))).asset == "BTC"
    assert placed(exchange.submit(ME, order(Side.SELL, budget="40000"))).lots == 100_000
    exchange.step()
    assert exchange.books(ME).balances["BTC"] == Balance(total=0)


def test_position_opens_closes_and_goes_short_with_its_cost() -> None:
    exchange = shares(100, 110, 120, 130, 140, 150, fees=NoFees())
    exchange.step()
    placed(exchange.submit(ME, share(Side.BUY, "10")))
    exchange.step()
    assert exchange.books(ME).positions == {SHARE.id: Holding(lots=10, cost=1_100 * E8)}
    resting = placed(exchange.submit(ME, share(Side.SELL, "6", limit="500", client_order_id="b")))
    too_much = share(Side.SELL, "5", client_order_id="c")
    answer = refused(exchange.submit(ME, too_much))
    assert (answer.code, answer.needed, answer.available) == (
        RefusalCode.INSUFFICIENT_QUANTITY, Decimal(5), Decimal(4),
    )  # fmt: skip
    placed(exchange.submit(ME, share(Side.SELL, "4", client_order_id="c")))
    exchange.step()
    assert exchange.books(ME).positions == {SHARE.id: Holding(lots=6, cost=660 * E8, held=6)}
    placed(exchange.cancel(ME, resting.number))
    placed(exchange.submit(ME, share(Side.SELL, "6", client_order_id="d")))
    exchange.step()
    placed(exchange.submit(ME, share(Side.SELL, "3", client_order_id="e")))
    exchange.step()
    books = exchange.books(ME)
    assert books.positions == {SHARE.id: Holding(lots=-3, cost=-420 * E8)}
    gained = -1_100 + 4 * 120 + 6 * 130 + 3 * 140
    assert books.balances["USD"].total == (100_000 + gained) * E8
    assert exchange.equity(ME, "USD") == (100_000 + gained - 3 * 140) * E8
    assert refused(exchange.submit(ME, share(Side.BUY, "4", client_order_id="f"))).code is (
        RefusalCode.INSUFFICIENT_QUANTITY
    )


def test_buying_power_is_leverage_times_equity_less_positions_and_holds() -> None:
    rules = ExchangeRules(can_short=True, leverage=2)
    exchange = shares(100, 100, 100, rules=rules, fees=NoFees(), accounts={ME: {"USD": 1_000 * E8}})
    exchange.step()
    placed(exchange.submit(ME, share(Side.BUY, "8")))
    assert exchange.buying_power(ME, "USD") == 1_200 * E8
    exchange.step()
    assert exchange.buying_power(ME, "USD") == 1_200 * E8
    assert refused(exchange.submit(ME, share(Side.BUY, "13"))).code is (
        RefusalCode.INSUFFICIENT_BALANCE
    )


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (order(Side.BUY, "1", symbol="NOPE"), RefusalCode.UNKNOWN_SYMBOL),
        (order(Side.BUY, "0.000001"), RefusalCode.LOT_SIZE),
        (order(Side.BUY, "100000"), RefusalCode.LOT_SIZE),
        (order(Side.BUY, "1", limit="0.001"), RefusalCode.TICK_SIZE),
        (order(Side.BUY, "0.0001"), RefusalCode.MIN_NOTIONAL),
        (order(Side.BUY, budget="9"), RefusalCode.MIN_NOTIONAL),
        (order(Side.SELL, "1"), RefusalCode.INSUFFICIENT_BALANCE),
        (order(Side.BUY), RefusalCode.INCOMPLETE),
        (order(Side.BUY, "NaN"), RefusalCode.INCOMPLETE),
        (order(Side.BUY, "1", budget="10"), RefusalCode.INCOMPLETE),
        (order(Side.BUY, "1", order_type=OrderType.LIMIT), RefusalCode.INCOMPLETE),
        (order(Side.BUY, "1", order_type=OrderType.STOP), RefusalCode.INCOMPLETE),
        (order(Side.BUY, "1", order_type=OrderType.TRAILING_STOP), RefusalCode.INCOMPLETE),
        (order(Side.BUY, "1", stop="1"), RefusalCode.INCOMPLETE),
        (order(Side.BUY, "1", trail="1"), RefusalCode.INCOMPLETE),
        (order(Side.BUY, "1", time_in_force=TimeInForce.GTD), RefusalCode.INCOMPLETE),
        (order(Side.BUY, "1", limit="1", display="0.000001"), RefusalCode.LOT_SIZE),
        (
            order(Side.BUY, "1", order_type=OrderType.TRAILING_STOP_LIMIT, trail="1"),
            RefusalCode.UNSUPPORTED,
        ),
    ],
)
def test_order_that_a_venue_would_not_take_is_refused_with_its_code(
    request_: NewOrder, code: RefusalCode
) -> None:
    exchange = make_exchange(make_timeline(flat(40_000), PICKY))
    exchange.step()
    before = exchange.books(ME)
    answer = refused(exchange.submit(ME, request_))
    assert answer.code is code
    assert answer.message
    assert exchange.check(ME, request_) == answer
    assert exchange.books(ME) == before
    assert exchange.updates == 0


PICKY = Instrument(
    id=COIN.id, kind=COIN.kind, quote_currency="USDT", base_currency="BTC",
    tick_size=COIN.tick_size, lot_size=COIN.lot_size, min_notional=Decimal(10),
    max_lots=1_000_000_000,
)  # fmt: skip


def test_order_before_the_first_price_is_refused_unless_it_has_one() -> None:
    exchange = pairs(40_000, 40_000)
    assert refused(exchange.submit(ME, order(Side.BUY, "1"))).code is RefusalCode.NO_PRICE
    placed(exchange.submit(ME, order(Side.BUY, "1", limit="30000")))


def test_halted_symbol_takes_no_orders_and_fills_none_until_it_trades_again() -> None:
    exchange = pairs(40_000, 40_000, 40_000)
    exchange.step()
    placed(exchange.submit(ME, order(Side.BUY, "1")))
    exchange.halt("BTCUSDT", "news pending")
    answer = refused(exchange.submit(ME, order(Side.BUY, "1", client_order_id="b")))
    assert (answer.code, answer.message) == (RefusalCode.HALTED, "news pending")
    exchange.step()
    assert exchange.books(ME).executions == ()
    exchange.resume("BTCUSDT")
    exchange.step()
    assert len(exchange.books(ME).executions) == 1
    with pytest.raises(DataError, match="BTCUSD "):
        exchange.halt("BTCUSD ", "")


def test_client_id_is_unique_among_open_orders_or_for_ever() -> None:
    for make, ask, is_free_again in ((pairs, order, True), (shares, share, False)):
        exchange = make(40, 40)
        exchange.step()
        first = placed(exchange.submit(ME, ask(Side.BUY, "1", limit="1")))
        assert refused(exchange.submit(ME, ask(Side.BUY, "1", limit="1"))).code is (
            RefusalCode.DUPLICATE_ID
        )
        placed(exchange.cancel(ME, first.number))
        again = exchange.submit(ME, ask(Side.BUY, "1", limit="1"))
        assert (getattr(again, "code", None) is None) is is_free_again


def test_trailing_stop_that_is_replaced_stays_where_it_has_trailed_to() -> None:
    exchange = shares(100, 100, 120, 115, 109, fees=NoFees())
    exchange.step()
    placed(exchange.submit(ME, share(Side.BUY, "4")))
    exchange.step()
    trailing = placed(
        exchange.submit(
            ME,
            share(
                Side.SELL, "4", trail="10", client_order_id="b",
                order_type=OrderType.TRAILING_STOP,
            ),
        )
    )  # fmt: skip
    assert (trailing.stop_ticks, exchange.stop_of(trailing.number)) == (9_000, 9_000)
    exchange.step()
    exchange.step()
    assert exchange.stop_of(trailing.number) == 11_000
    fewer = placed(exchange.replace(ME, trailing.number, Changes(quantity=Decimal(3))))
    assert (fewer.lots, exchange.stop_of(trailing.number)) == (3, 11_000)
    exchange.step()
    assert exchange.executions(ME)[-1].lots == 3
    assert exchange.stop_of(trailing.number) == fewer.stop_ticks


def test_replace_makes_a_new_order_where_the_venue_does() -> None:
    rules = ExchangeRules(is_client_id_unique_for_ever=True, replace_makes_new_order=True)
    exchange = shares(100, 100, 90, rules=rules)
    heard = hear(exchange)
    exchange.step()
    old = placed(exchange.submit(ME, share(Side.BUY, "10", limit="50")))
    taken = Changes(limit=Decimal(95), client_order_id="a")
    assert refused(exchange.replace(ME, old.number, taken)).code is RefusalCode.DUPLICATE_ID
    change = Changes(limit=Decimal(95), quantity=Decimal(5), client_order_id="b")
    new = placed(exchange.replace(ME, old.number, change))
    assert (new.number, new.replaces, new.client_order_id, new.lots) == (2, 1, "b", 5)
    told = updates(heard)[-1]
    assert (told.kind, told.order, told.replaced) == (
        UpdateKind.REPLACED, new, exchange.find(ME, client_order_id="a"),
    )  # fmt: skip
    assert [each.number for each in exchange.open_orders(ME)] == [2]
    exchange.step()
    exchange.step()
    assert [each.client_order_id for each in exchange.books(ME).executions] == ["b"]
    assert refused(exchange.cancel(ME, old.number)).code is RefusalCode.ORDER_CLOSED


def test_command_takes_its_latency_and_a_late_cancel_is_refused_when_it_arrives() -> None:
    exchange = make_exchange(
        make_timeline(flat(100, 90, 80, 70), SHARE), SHARES,
        latency=LatencyModel(mean_ms=30_000), fees=NoFees(),
    )  # fmt: skip
    heard = hear(exchange)
    exchange.step()
    placed(exchange.submit(ME, share(Side.BUY, "1", limit="85")))
    assert exchange.next_ts == closes(0) + MINUTE // 2
    exchange.step()  # it arrived inside this bar, which closes above its limit
    assert exchange.books(ME).executions == ()
    waiting = placed(exchange.cancel(ME, 1))
    assert waiting.is_open
    assert waiting.is_canceling
    exchange.advance(closes(1) + MINUTE // 2)
    assert [(each.kind, each.ts) for each in updates(heard)] == [
        (UpdateKind.ACCEPTED, closes(0)), (UpdateKind.CANCELED, closes(1) + MINUTE // 2),
    ]  # fmt: skip
    exchange.advance(closes(2))
    placed(exchange.submit(ME, share(Side.BUY, "1", client_order_id="b")))
    exchange.advance(closes(3) - SECOND)
    assert placed(exchange.cancel(ME, 2)).is_open
    exchange.step()
    assert [each.kind for each in updates(heard)][2:] == [UpdateKind.ACCEPTED, UpdateKind.FILLED]
    exchange.advance(closes(4))
    assert updates(heard)[-1].kind is UpdateKind.CANCEL_REFUSED
    assert not updates(heard)[-1].order.is_canceling


def test_order_that_was_cut_leaves_the_rest_of_a_bar_to_others() -> None:
    columns = make_columns([(10.0,), (20.0, 20.0, 20.0, 20.0, 8.0), (20.0, 20.0, 20.0, 20.0, 8.0)])
    timeline = build_timeline([(COIN, columns)], source="t", timeframe="1m")
    accounts = {ME: {"USDT": 100 * E8}, "you": {"USDT": 1_000 * E8}}
    exchange = make_exchange(timeline, PAIRS, accounts=accounts, max_volume_ratio=1.0)
    exchange.step()
    placed(exchange.submit(ME, order(Side.BUY, "10")))
    placed(exchange.submit("you", order(Side.BUY, "8")))
    exchange.step()
    exchange.step()
    assert [(e.account, e.lots) for e in exchange.books(ME).executions] == [(ME, 500_000)]
    assert [e.lots for e in exchange.books("you").executions] == [800_000]


def test_time_in_force_ends_an_order_and_says_why() -> None:
    exchange = pairs(40_000, 40_000, 40_000)
    exchange.step()
    at_once = order(Side.BUY, "1", limit="1", time_in_force=TimeInForce.IOC)
    until = order(
        Side.BUY, "1", limit="1", client_order_id="b", time_in_force=TimeInForce.GTD,
        ts_expire=closes(1),
    )  # fmt: skip
    taker = order(Side.BUY, "1", limit="50000", client_order_id="c", post_only=True)
    for each in (at_once, until, taker):
        placed(exchange.submit(ME, each))
    exchange.step()
    assert [(each.status, each.cause) for each in exchange.orders(ME)] == [
        (PlacedStatus.CANCELED, EndCause.NOT_AT_ONCE),
        (PlacedStatus.EXPIRED, EndCause.TIME_IN_FORCE),
        (PlacedStatus.CANCELED, EndCause.POST_ONLY),
    ]


def test_reports_come_before_the_row_that_caused_them_and_in_numbered_order() -> None:
    exchange = pairs(40_000, 39_000)
    exchange.step()
    heard = hear(exchange)
    placed(exchange.submit(ME, order(Side.BUY, "1")))
    exchange.step()
    assert [getattr(each, "kind", MarketRow) for each in heard] == [
        UpdateKind.ACCEPTED, UpdateKind.FILLED, MarketRow,
    ]  # fmt: skip
    assert [each.seq for each in updates(heard)] == [1, 2]
    (execution,) = exchange.executions(ME, since=closes(1))
    assert (execution.ts, execution.ts_fill, execution.ticks) == (closes(1), opens(1), 3_900_000)
    assert exchange.executions(ME, since=closes(1) + 1) == []


def test_rows_are_those_that_are_known_by_now() -> None:
    exchange = pairs(1, 2, 3)
    assert exchange.rows("BTCUSDT") == []
    exchange.advance(closes(1))
    assert [each.event.ts_event for each in exchange.rows("BTCUSDT")] == [closes(0), closes(1)]
    assert [each.row for each in exchange.rows("BTCUSDT", opens(1), opens(2))] == [1]
    assert exchange.now == closes(1)
    assert (exchange.rows_played, exchange.rows_total) == (2, 3)


def test_market_order_on_quotes_is_filled_before_it_is_answered() -> None:
    timeline = make_quote_timeline([(99.0, 101.0), (100.0, 102.0)])
    exchange = make_exchange(timeline, SHARES, fees=NoFees())
    heard = hear(exchange)
    exchange.step()
    done = placed(exchange.submit(ME, share(Side.BUY, "3")))
    assert (done.status, done.filled_lots) == (PlacedStatus.FILLED, 3)
    assert [each.kind for each in updates(heard)] == [UpdateKind.ACCEPTED, UpdateKind.FILLED]
    assert exchange.books(ME).balances["USD"].total == (100_000 - 303) * E8
    assert [each.event.ts_event for each in exchange.rows("AAPL", T0)] == [T0]
    assert exchange.rows("AAPL", T0 + 1) == []


def test_fill_in_parts_costs_and_brings_what_it_does_in_one() -> None:
    whole, parts = pairs(40_000, 41_000), pairs(40_000, 41_000)
    parts.split_fill = lambda lots: (1, 2, lots - 3)
    for exchange in (whole, parts):
        exchange.step()
        placed(exchange.submit(ME, order(Side.BUY, "0.00777")))
    heard = hear(parts)
    whole.step()
    parts.step()
    assert [each.order.status for each in updates(heard)] == [
        PlacedStatus.PARTIALLY_FILLED, PlacedStatus.PARTIALLY_FILLED, PlacedStatus.FILLED,
    ]  # fmt: skip
    assert parts.books(ME).balances == whole.books(ME).balances


def test_accounts_do_not_touch_each_other() -> None:
    accounts = {ME: {"USDT": 100 * E8}, "you": {"USDT": 200 * E8}}
    exchange = pairs(10, 10, accounts=accounts)
    exchange.step()
    placed(exchange.submit(ME, order(Side.BUY, "1")))
    placed(exchange.submit("you", order(Side.BUY, "2")))
    assert exchange.find("you", number=1) is None
    assert refused(exchange.cancel("you", 1)).code is RefusalCode.UNKNOWN_ORDER
    exchange.step()
    assert [exchange.books(each).balances["USDT"].total for each in exchange.accounts] == [
        90 * E8, 180 * E8,
    ]  # fmt: skip


def test_what_a_local_exchange_can_not_keep_exactly_it_refuses_first() -> None:
    with pytest.raises(ConfigError, match="no plain share"):
        pairs(1, fees=PerOrderFees(amount=1))
    with pytest.raises(ConfigError, match="no plain share"):
        pairs(1, fees=BpsFees(maker_bps=-1, taker_bps=5))
    twice = [(each, make_columns(flat(1))) for each in (SHARE, make_equity("AAPL.XNAS"))]
    with pytest.raises(ConfigError, match="the same symbol"):
        make_exchange(build_timeline(twice, source="t", timeframe="1m"), SHARES)
    other = make_equity("NEW.XNAS")
    both = [(SHARE, make_columns(flat(2, 1))), (other, make_columns(flat(2, 1)))]
    merger = make_action(
        CorporateActionKind.MERGER, T0 + MINUTE, 1.0, instrument=SHARE.id, new_instrument=other.id
    )
    merged = build_timeline(both, source="t", timeframe="1m", actions=[merger])
    with pytest.raises(ConfigError, match="a merger of AAPL"):
        make_exchange(merged, SHARES)
    fine = make_spot("X.Y", base="B", quote="Q", tick_size="100", lot_size="0.000000001")
    with pytest.raises(ConfigError, match="finer than 1e-8"):
        make_exchange(make_timeline(flat(1), fine))


def test_corporate_actions_adjust_accounts_marks_and_orders() -> None:
    """11 shares at 700, 5.00 a share, then 7 for 2: 38, and half a share at the last close."""
    actions = [
        make_action(DIVIDEND, T0 + 3 * MINUTE, 5.0, instrument=SHARE.id, ts_pay=T0 + 5 * MINUTE),
        make_action(SPLIT, T0 + 4 * MINUTE, 7.0, 2.0, instrument=SHARE.id),
        make_action(PAYMENT, T0 + 5 * MINUTE, 5.0, instrument=SHARE.id, ts_pay=T0 + 5 * MINUTE),
    ]
    columns = make_columns(flat(700, 700, 700, 695, 200, 200))
    timeline = build_timeline([(SHARE, columns)], source="t", timeframe="1m", actions=actions)
    exchange = make_exchange(timeline, SHARES, fees=NoFees())
    exchange.step()
    placed(exchange.submit(ME, share(Side.BUY, "11")))
    exchange.step()
    resting = placed(exchange.submit(ME, share(Side.BUY, "1", limit="1", client_order_id="r")))
    exchange.step()
    exchange.step()
    books = exchange.books(ME)
    assert books.positions[SHARE.id].lots == 11
    assert books.balances["USD"].total == (100_000 - 7_700) * E8
    exchange.advance(T0 + 4 * MINUTE + 1)
    books = exchange.books(ME)
    in_lieu = 695 * E8 * 2 // 7 // 2
    assert books.positions[SHARE.id].lots == 38
    assert books.positions[SHARE.id].cost == pytest.approx(7_700 * E8 * 38 / 38.5, rel=1e-9)
    assert books.balances["USD"].total - (100_000 - 7_700) * E8 in (in_lieu, in_lieu - 1)
    assert exchange.mark(SHARE.id) == round(69_500 * 2 / 7)
    found = exchange.find(ME, number=resting.number)
    assert found is not None
    assert (found.status, found.reason) == (PlacedStatus.CANCELED, "split")
    while exchange.step():
        pass
    assert exchange.books(ME).balances["USD"].total == books.balances["USD"].total + 55 * E8


def test_delisted_position_is_paid_and_the_symbol_is_halted() -> None:
    delisting = make_action(DELISTING, T0 + 2 * MINUTE, 7.5, instrument=SHARE.id)
    timeline = build_timeline(
        [(SHARE, make_columns(flat(10, 10)))], source="t", timeframe="1m", actions=[delisting]
    )
    exchange = make_exchange(timeline, SHARES, fees=NoFees())
    exchange.step()
    placed(exchange.submit(ME, share(Side.SELL, "4")))
    exchange.step()
    exchange.advance(T0 + 2 * MINUTE + 1)
    books = exchange.books(ME)
    assert books.positions == {}
    assert books.balances["USD"].total == (100_000 + 40 - 30) * E8
    assert refused(exchange.submit(ME, share(Side.BUY, "1"))).code is RefusalCode.HALTED
