"""What goes wrong between the gateway and Binance, and what is heard of it."""

from __future__ import annotations

import time

import pytest
from pydantic import SecretStr

from onetape.domain.errors import ConfigError, DataError, VenueUnavailable
from onetape.domain.instrument import InstrumentId, make_spot
from onetape.domain.orders import RejectCode
from onetape.execution.binance.gateway import BinanceGateway
from onetape.runtime.local_venues.faults import Decision, Fault, FaultKind, FaultSchedule
from tests.support.binance_live import (
    BUY,
    COIN,
    KEY,
    SELL,
    STRATEGY,
    K,
    World,
    cancel,
    make_settings,
    order,
    replace,
    run,
    told,
)


class Script(FaultSchedule):
    """Faults by name: the n-th (from 1) question about (place, subject)."""

    def __init__(self, script: dict[tuple[str, str, int], Fault]) -> None:
        super().__init__(0, {})
        self.script = script
        self.asked: dict[tuple[str, str], int] = {}

    def _decide(self, place, subject, ts, without=()):
        count = self.asked[place, subject] = self.asked.get((place, subject), 0) + 1
        fault = self.script.get((place, subject, count))
        if fault is not None:
            self.decisions.append(Decision(place, subject, count, ts, fault))
        return fault


ORDER = "POST /api/v3/order"
LOST = Fault(FaultKind.LOST_ACK)


async def fails(world: World, **settings) -> str:
    await world.server.start()
    await world.play()
    gateway = BinanceGateway(make_settings(world.server, **settings), [STRATEGY])
    try:
        with pytest.raises(ConfigError) as caught:
            await gateway.open([COIN], world.hear)
        return str(caught.value)
    finally:
        await gateway.close()
        await world.server.close()


def test_wrong_secret_and_unknown_key_are_told_at_the_start() -> None:
    async def test() -> None:
        text = await fails(World(), secret=SecretStr("wrong"))
        assert "Signature for this request is not valid." in text
        text = await fails(World(), key=SecretStr("unknown"))
        assert "Invalid API-key" in text
        assert "give a key" in await fails(World(), key=None, secret=None)

    run(test)


def test_account_that_pays_fees_in_a_third_asset_is_refused() -> None:
    async def test() -> None:
        world = World()
        world.server.discount_asset = "BNB"
        assert 'switch "pay fees in BNB" off' in await fails(world)

    run(test)


def test_ed25519_key_signs_requests_and_the_subscription() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    async def test() -> None:
        world = World(secret=public.decode())
        async with world.gateway(secret=SecretStr(secret)) as gateway:
            await gateway.submit(order(1))
            await world.play()
            await world.until_kinds(K.ACCEPTED, K.FILLED)

    run(test)


def test_unknown_symbol_names_the_nearest() -> None:
    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            with pytest.raises(DataError, match=r"BTCUSDX.*did you mean 'BTCUSDT'"):
                await gateway.define([InstrumentId("BTCUSDX.BINANCE")])

    run(test)


def test_balance_that_would_be_a_position_and_cash_is_refused() -> None:
    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            other = make_spot("ETHBTC.BINANCE", base="ETH", quote="BTC", tick_size="0.00001",
                              lot_size="0.001")  # fmt: skip
            with pytest.raises(ConfigError, match="one balance"):
                await gateway.open([COIN, other], world.hear)

    run(test)


def test_nobody_there_is_unavailable() -> None:
    async def test() -> None:
        world = World()
        await world.server.start()
        await world.server.close()
        gateway = BinanceGateway(make_settings(world.server), [STRATEGY])
        try:
            with pytest.raises(VenueUnavailable):
                await gateway.open([COIN], world.hear)
        finally:
            await gateway.close()

    run(test)


def test_clock_that_is_off_is_followed_and_one_too_far_off_refused() -> None:
    async def test() -> None:
        faults = Script({})
        faults.skew_s = -7.0
        world = World(faults=faults)
        async with world.gateway() as gateway:
            await gateway.submit(order(1))
            faults.skew_s = 9.0  # as if the machine slept
            await gateway.submit(order(2))
            await world.play()
            await world.until_kinds(K.ACCEPTED, K.FILLED)
            await world.until_kinds(K.ACCEPTED, K.FILLED, number=2)
        faults.skew_s = 120.0
        world = World(faults=faults)
        with pytest.raises(VenueUnavailable, match="the clock of binance is 120 s from ours"):
            async with world.gateway():
                pass

    run(test)


@pytest.mark.parametrize("kind", [FaultKind.LOST_ACK, FaultKind.VAGUE_ACK, FaultKind.LATE_ACK])
def test_order_whose_answer_is_lost_is_not_sent_again_and_is_found(kind: FaultKind) -> None:
    """Binance: with -1007, 5xx and no answer the execution status is unknown."""

    async def test() -> None:
        value = 503.0 if kind is FaultKind.VAGUE_ACK else 1.0
        # The stream loses its events too.
        lost = {("message", "user data", each): Fault(FaultKind.DROP) for each in range(1, 9)}
        faults = Script({("answer", ORDER, 1): Fault(kind, value), **lost})
        world = World(faults=faults)
        async with world.gateway(timeout_s=0.5) as gateway:
            one = order(1)
            await gateway.submit(one)
            assert world.kinds() == [K.UNANSWERED]
            await world.play()
            seen = await gateway.look("unanswered", [one], 0)
            assert told(seen) == [K.FILLED]
            # Once it had filled, Binance would take a second one of the same id.
            assert faults.asked["request", ORDER] == 1
            assert seen.reports[0].lots == 1000

    run(test)


def test_order_that_never_arrived_is_told_as_not_found_when_it_can_not_arrive_any_more() -> None:
    async def test() -> None:
        faults = Script({("request", ORDER, 1): Fault(FaultKind.UNAVAILABLE, 502.0)})
        world = World(faults=faults)
        async with world.gateway() as gateway:
            one = order(1)
            begin = time.monotonic()
            await gateway.submit(one)
            seen = await gateway.look("unanswered", [one], 0)
            assert time.monotonic() - begin >= 0.4  # the window of its signature
            assert world.kinds() == [K.UNANSWERED]
            assert told(seen) == [K.NOT_FOUND]
            assert seen.orders == []

    run(test)


def test_limits_are_waited_for_and_what_they_refused_is_sent_again() -> None:
    async def test() -> None:
        faults = Script(
            {
                ("request", ORDER, 1): Fault(FaultKind.THROTTLE, 0.2),
                ("request", ORDER, 2): Fault(FaultKind.THROTTLE, 0.1),
            }
        )
        world = World(faults=faults)
        async with world.gateway() as gateway:
            begin = time.monotonic()
            await gateway.submit(order(1))
            assert time.monotonic() - begin >= 0.3
            assert world.kinds() == [K.ACCEPTED]
            assert len(world.exchange.orders("me")) == 1

    run(test)


def test_ban_that_is_too_long_is_a_refusal() -> None:
    async def test() -> None:
        faults = Script({("request", ORDER, 1): Fault(FaultKind.THROTTLE, 3600.0)})
        world = World(faults=faults)
        async with world.gateway() as gateway:
            await gateway.submit(order(1))
            assert world.kinds() == [K.REJECTED]

    run(test)


def test_questions_are_asked_again_through_failures() -> None:
    async def test() -> None:
        subject = "GET /api/v3/account"
        faults = Script(
            {
                ("request", subject, 2): Fault(FaultKind.UNAVAILABLE, 500.0),
                ("answer", subject, 2): LOST,
            }
        )
        world = World(faults=faults)
        async with world.gateway() as gateway:
            assert (await gateway.look("test", [], 0)).positions

    run(test)


def test_cancel_whose_answer_is_lost_is_unanswered_and_heard_on_the_stream() -> None:
    async def test() -> None:
        faults = Script({("answer", "DELETE /api/v3/order", 1): Fault(FaultKind.VAGUE_ACK, 504.0)})
        world = World(faults=faults)
        async with world.gateway() as gateway:
            one = order(1, limit=3_000_000)
            await gateway.submit(one)
            await gateway.cancel(cancel(one), one)
            await world.until(lambda: len(world.kinds()) == 3)
            assert world.kinds()[0] is K.ACCEPTED
            assert set(world.kinds()[1:]) == {K.UNANSWERED, K.CANCELED}

    run(test)


def test_replace_whose_answer_is_lost_is_followed_to_its_successor() -> None:
    async def test() -> None:
        subject = "POST /api/v3/order/cancelReplace"
        lost = {("message", "user data", each): Fault(FaultKind.DROP) for each in range(2, 9)}
        faults = Script({("answer", subject, 1): Fault(FaultKind.VAGUE_ACK, 503.0), **lost})
        world = World(faults=faults)
        async with world.gateway() as gateway:
            one = order(1, limit=3_000_000)
            await gateway.submit(one)
            await gateway.replace(replace(one, limit=3_100_000), one)
            assert world.kinds() == [K.ACCEPTED, K.UNANSWERED]
            seen = await gateway.look("unanswered", [one], 0)
            assert told(seen) == [K.REPLACED]
            assert (seen.reports[0].limit_ticks, seen.orders[0].limit_ticks) == (3_100_000,) * 2
            await gateway.cancel(cancel(one), one)
            assert world.exchange.open_orders("me") == []

    run(test)


def test_replace_that_can_not_be_paid_ends_the_order_and_says_so() -> None:
    """-2021: the cancel succeeded, the new order did not."""

    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            one = order(1, limit=3_000_000, lots=300_000)
            await gateway.submit(one)
            await gateway.replace(replace(one, limit=3_900_000), one)
            await world.until_kinds(K.ACCEPTED, K.CANCELED)
            assert "insufficient balance" in world.reports[-1].reason
            assert told(await gateway.look("test", [one], 0)) == [K.CANCELED]

    run(test)


def test_replace_of_an_order_that_filled_meanwhile_is_refused() -> None:
    async def test() -> None:
        held = {("message", "user data", each): Fault(FaultKind.DROP) for each in range(2, 9)}
        world = World(prices=[40_000.0, 40_000.0, 39_000.0, 39_000.0], faults=Script(held))
        async with world.gateway() as gateway:
            one = order(1, limit=3_950_000)
            await gateway.submit(one)
            await world.play(2)  # it fills, and nobody hears it
            await gateway.replace(replace(one, limit=3_960_000), one)
            assert world.kinds() == [K.ACCEPTED, K.REPLACE_REJECTED]
            assert world.reports[-1].code is RejectCode.ORDER_CLOSED
            assert told(await gateway.look("test", [one], 0)) == [K.FILLED]
            assert len(world.exchange.orders("me")) == 1

    run(test)


def test_fill_that_nobody_heard_does_not_make_the_successor_too_large() -> None:
    async def test() -> None:
        rows = [(40_000.0, 40_000.0, 39_999.0, 40_000.0, 2.0)] * 12
        held = {("message", "user data", each): Fault(FaultKind.DROP) for each in range(2, 9)}
        world = World(rows, max_volume_ratio=0.1, faults=Script(held))
        async with world.gateway() as gateway:
            one = order(1, limit=4_000_000, lots=150_000)
            await gateway.submit(one)
            await world.play()  # a part fills, and nobody hears it
            (first,) = world.exchange.orders("me")
            assert 0 < first.filled_lots < 150_000
            await gateway.replace(replace(one, limit=3_900_000), one)
            assert world.kinds() == [K.ACCEPTED, K.REPLACED]
            assert world.exchange.orders("me")[-1].lots == 150_000 - first.filled_lots
            last = world.reports[-1]
            assert (last.lots, last.filled_lots) == (150_000, first.filled_lots)

    run(test)


def test_connection_comes_back_and_look_tells_what_was_missed() -> None:
    async def test() -> None:
        world = World(prices=[40_000.0, 40_000.0, 39_000.0, 39_000.0])
        async with world.gateway() as gateway:
            one, two = order(1, limit=3_950_000), order(2, limit=3_000_000)
            await gateway.submit(one)
            await gateway.submit(two)
            await world.server.restart(0.3)
            await world.until(lambda: [each.is_up for each in world.changes] == [False])
            await world.play(2)
            found = world.exchange.find("me", client_order_id=two.client_order_id)
            world.exchange.cancel("me", found.number)
            await world.until(lambda: [each.is_up for each in world.changes] == [False, True])
            seen = await gateway.look("connected again", [one, two], 0)
            assert told(seen, 1) == [K.FILLED]
            assert told(seen, 2) == [K.CANCELED]
            await gateway.submit(order(3))
            await world.play()
            await world.until_kinds(K.ACCEPTED, K.FILLED, number=3)

    run(test)


def test_silent_connection_is_given_up() -> None:
    async def test() -> None:
        world = World(faults=Script({}))
        async with world.gateway(silent_s=0.4) as gateway:
            (socket,) = world.server._sockets
            # The server stops reading: no pong comes.
            socket._response._req.transport.pause_reading()
            await world.until(lambda: [each.is_up for each in world.changes][:2] == [False, True])
            await gateway.submit(order(1))
            await world.play()
            await world.until_kinds(K.ACCEPTED, K.FILLED)

    run(test)


def test_revoked_key_is_told_and_nothing_is_lost() -> None:
    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            one = order(1, limit=3_000_000)
            await gateway.submit(one)
            world.server.revoke(KEY)
            await world.until(lambda: any("keys" in each.reason or "API-key" in each.reason
                                          for each in world.changes))  # fmt: skip
            assert not any(each.is_up for each in world.changes)
            await gateway.submit(order(2))
            assert world.kinds(2) == [K.REJECTED]
            await gateway.cancel(cancel(one), one)
            assert world.kinds(1) == [K.ACCEPTED, K.CANCEL_REJECTED]
            with pytest.raises(VenueUnavailable):
                await gateway.look("test", [one], 0)

    run(test)


def test_orders_are_known_again_after_a_restart_from_the_venue_alone() -> None:
    async def test() -> None:
        name = "momentum_of_everything_v2"
        rows = [(40_000.0, 40_000.0, 39_999.0, 40_000.0, 2.0)] * 12
        world = World(rows, max_volume_ratio=0.1)
        one = order(1, limit=4_000_000, lots=150_000, strategy=name)
        gone = order(2, limit=3_000_000, strategy=name)
        settings = {"strategies": [name]}
        async with world.gateway(**settings) as gateway:
            await gateway.submit(one)
            await gateway.submit(gone)
            await gateway.cancel(cancel(gone), gone)
            await world.play()
            await gateway.replace(replace(one, limit=3_900_000), one)
        again = World()
        again.exchange, again.player, again.server = world.exchange, world.player, world.server
        async with again.gateway(**settings) as gateway:
            seen = await gateway.look("start", [one, gone], 0)
            (found,) = seen.orders
            assert found.client_order_id == one.client_order_id
            assert (found.lots, found.limit_ticks) == (150_000, 3_900_000)
            assert 0 < found.filled_lots < 150_000
            kinds = {(each.client_order_id, each.kind) for each in seen.reports}
            assert kinds == {
                (one.client_order_id, K.FILLED), (one.client_order_id, K.REPLACED),
                (gone.client_order_id, K.CANCELED),
            }  # fmt: skip
            await gateway.replace(replace(one, limit=3_800_000), one)
            assert again.reports[-1].limit_ticks == 3_800_000
            names = [each.client_order_id for each in world.exchange.orders("me")]
            assert all(len(each) <= 36 for each in names)
            assert names[-1].endswith("-r2")

    run(test)


def test_orders_of_others_are_told_by_their_number() -> None:
    from decimal import Decimal

    from onetape.runtime.local_venues.messages import NewOrder

    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            world.exchange.submit("me", NewOrder(
                symbol="BTCUSDT", client_order_id="web_1", side=SELL,
                order_type=order(1).order_type, quantity=Decimal("0.5")))  # fmt: skip
            await world.play()
            await world.until(lambda: len(world.reports) == 2)
            assert [(each.kind, each.client_order_id) for each in world.reports] == [
                (K.ACCEPTED, "@BTCUSDT:1"), (K.FILLED, "@BTCUSDT:1"),
            ]  # fmt: skip
            seen = await gateway.look("test", [], 0)
            assert [(each.kind, each.client_order_id, each.side) for each in seen.reports] == [
                (K.FILLED, "@BTCUSDT:1", SELL)
            ]

    run(test)


def test_same_id_twice_is_no_second_order() -> None:
    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            one = order(1, BUY, limit=3_000_000)
            await gateway.submit(one)
            await gateway.submit(one)
            assert world.kinds() == [K.ACCEPTED]
            assert len(world.exchange.orders("me")) == 1

    run(test)


def test_fills_are_paged() -> None:
    async def test() -> None:
        world = World()
        world.exchange.split_fill = lambda lots: [1] * lots
        async with world.gateway() as gateway:
            await gateway.submit(order(1, lots=2_300))
            await world.play()
            await world.until(lambda: len(world.reports) == 2_301)
            seen = await gateway.look("test", [], 0)
            assert len({each.execution_id for each in seen.reports}) == 2_300
            assert sum(each.lots for each in seen.reports) == 2_300

    run(test)
