"""What goes wrong between ib_async and a local TWS: told clearly, and found again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from onetape.domain.errors import ConfigError, DataError, VenueUnavailable
from onetape.domain.instrument import InstrumentId
from onetape.domain.orders import OrderType
from onetape.domain.venue import ReportKind, VenueOrder
from onetape.execution.ibkr.gateway import IbkrGateway
from onetape.marketdata.feeds.ibkr_link import TwsGone, TwsLink, TwsListener
from onetape.runtime.local_venues.faults import Fault, FaultKind, FaultSchedule
from onetape.runtime.local_venues.ibkr_wire import show_error
from tests.live.ibkr.test_commands import A, C, F, far, run_with
from tests.support.ibkr_venue import (
    AAPL,
    ACCOUNT,
    MSFT,
    Ghosts,
    LocalTws,
    haunt,
    make_minutes,
)

LIMIT = OrderType.LIMIT
UNANSWERED = ReportKind.UNANSWERED
PLACE = "message 3"


class Script(FaultSchedule):
    """Faults as a test writes them: of the next requests, answers or messages, in order."""

    def __init__(self, **faults: list[Fault | None]) -> None:
        super().__init__(0, {})
        self.requests = faults.get("requests", [])
        self.answers = faults.get("answers", [])
        self.messages = faults.get("messages", [])

    def on_request(self, subject: str, ts: int, *, is_order: bool = False) -> Fault | None:
        return self.requests.pop(0) if subject == PLACE and self.requests else None

    def on_answer(self, subject: str, ts: int) -> Fault | None:
        return self.answers.pop(0) if subject == PLACE and self.answers else None

    def on_message(self, stream: str, ts: int) -> Fault | None:
        return self.messages.pop(0) if self.messages else None


def of(world: LocalTws) -> IbkrGateway:
    assert world.gateway is not None
    return world.gateway


async def begin(world: LocalTws, **changes: Any) -> None:
    """A gateway that is opened and closed again."""
    gateway = world.make_gateway(**changes)
    try:
        await gateway.open(world.instruments, world.hear)
    finally:
        await gateway.close()


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], tuple[str, ...]]] = {
    # what is wrong: (settings, error, what is said)
    "nobody listens": ({"port": 1}, VenueUnavailable, ("127.0.0.1:1", "start TWS")),
    "client id in use": ({"client_id": 1}, ConfigError, ("a client 1 already", "another number")),
    "unknown account": ({"account": "DU7"}, ConfigError, ("no account 'DU7'", "DU1000001")),
    "paper account, endpoint live": ({"is_paper": False}, ConfigError, ("a paper account",)),
    "clock": ({"clock": 60}, VenueUnavailable, ("clock is -60", "set this machine's clock")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_gateway_refuses_to_begin_by_one_error(case: str) -> None:
    settings, error, said = REFUSED[case]

    async def test(world: LocalTws) -> None:
        clock = lambda: world.exchange.now + settings.get("clock", 0) * 10**9  # noqa: E731
        changes = {name: value for name, value in settings.items() if name != "clock"}
        gateway = IbkrGateway(world.access(**({"client_id": 5} | changes)), clock)
        with pytest.raises(error) as caught:
            await gateway.open(world.instruments, world.hear)
        await gateway.close()
        assert all(each in str(caught.value) for each in said), str(caught.value)

    run_with(test)


class Haunted(FaultSchedule):
    """The first connection ends behind a question, and TWS has its client 1 still."""

    def __init__(self, logins: int) -> None:
        super().__init__(0, {})
        self.world: LocalTws | None = None
        self.ghosts: Ghosts | None = None
        self.logins = logins

    def on_answer(self, subject: str, ts: int) -> Fault | None:
        if self.ghosts is not None or self.world is None:
            return None
        self.ghosts = haunt(self.world, 1, self.logins)
        return Fault(FaultKind.LOST_ACK)


@pytest.mark.parametrize("logins", [1, 4])
def test_client_id_that_tws_has_still_of_a_lost_connection_is_waited_for(logins: int) -> None:
    """An answer at the beginning is lost, and TWS has not noticed that this connection is over."""

    async def test(world: LocalTws) -> None:
        faults.world = world
        world.gateway = world.make_gateway()
        await world.gateway.open(world.instruments, world.hear)
        await world.until(lambda: [each.is_up for each in world.changes()] == [True])
        assert faults.ghosts is not None
        assert not faults.ghosts.logins

    faults = Haunted(logins)
    run_with(test, is_open=False, faults=faults, first_wait_s=0.001)


def test_client_id_that_stays_in_use_behind_a_lost_connection_is_told_as_such() -> None:
    async def test(world: LocalTws) -> None:
        faults.world = world
        with pytest.raises(ConfigError, match="connection before this one") as caught:
            await begin(world)
        assert "a client 1 already" in str(caught.value)
        assert faults.ghosts is not None
        assert 3 <= 1_000 - faults.ghosts.logins < 10

    faults = Haunted(1_000)
    run_with(test, is_open=False, faults=faults, first_wait_s=0.001)


def test_login_that_was_given_up_may_have_its_client_id_still() -> None:
    async def test(world: LocalTws) -> None:
        server: Any = world.server
        log_in = server._log_in

        async def hang(connection: Any) -> bool:
            server._log_in = log_in
            ghosts.append(haunt(world, 1, 2))
            return bool(await connection.read_prefix(1_000_000))

        ghosts: list[Ghosts] = []
        server._log_in = hang
        link = TwsLink(world.access(answer_s=0.2, first_wait_s=0.001), TwsListener())
        with pytest.raises(TwsGone):
            await link.connect()
        while not link.is_up:
            with suppress(TwsGone):  # on a busy machine
                await link.connect()
        assert [each.logins for each in ghosts] == [0]
        await link.close()

    run_with(test, is_open=False)


def test_client_id_that_another_program_has_is_asked_for_once() -> None:
    async def test(world: LocalTws) -> None:
        ghosts = haunt(world, 1, 1_000)
        with pytest.raises(ConfigError, match="a client 1 already"):
            await begin(world)
        assert ghosts.logins == 999

    run_with(test, is_open=False)


def test_client_id_that_somebody_takes_in_mid_session_is_told_and_asked_for_again() -> None:
    async def test(world: LocalTws) -> None:
        ghosts = haunt(world, 1, 1_000)
        await world.server.restart(0.0)
        await world.until(lambda: len(world.changes()) == 3)
        assert [each.is_up for each in world.changes()] == [True, False, False]
        assert "a client 1 already" in world.changes()[2].reason
        before = ghosts.logins
        await world.until(lambda: ghosts.logins < before - 10)
        assert len(world.changes()) == 3  # it is told once
        ghosts.logins = 0
        await world.until(lambda: len(world.changes()) == 4)
        assert world.changes()[3].is_up

    run_with(test, first_wait_s=0.001, longest_wait_s=0.002)


def test_real_money_behind_the_endpoint_of_paper_is_refused() -> None:
    async def test(world: LocalTws) -> None:
        world.server._code = "U1234567"  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(ConfigError, match="is real money"):
            await begin(world)

    run_with(test, is_open=False)


def test_unknown_symbol_names_the_nearest() -> None:
    async def test(world: LocalTws) -> None:
        with pytest.raises(DataError, match="no stock 'AAPLE' in USD") as caught:
            await of(world).define([InstrumentId("AAPLE.IBKR")])
        assert "AAPL" in str(caught.value)
        with pytest.raises(DataError, match="in EUR") as caught:
            await of(world).define([InstrumentId("AAPL/EUR.IBKR")])
        assert "write AAPL/USD.IBKR" in str(caught.value)

    run_with(test)


def test_order_whose_answer_is_lost_is_found_by_a_look_and_was_sent_once() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(10)
        await world.submit(order)
        await world.until_kinds(order, UNANSWERED)
        await world.until(lambda: [each.is_up for each in world.changes()] == [True, False, True])
        snapshot = await of(world).look("test", [order], 0)
        assert [each.client_order_id for each in snapshot.orders] == [order.client_order_id]
        assert len(world.exchange.orders(ACCOUNT)) == 1

    run_with(test, faults=Script(answers=[Fault(FaultKind.LOST_ACK)]))


@pytest.mark.parametrize("kind", [FaultKind.THROTTLE, FaultKind.UNAVAILABLE])
def test_order_that_never_arrived_is_unanswered_and_then_not_found(kind: FaultKind) -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(10)
        await world.submit(order)
        await world.until_kinds(order, UNANSWERED)
        snapshot = await of(world).look("test", [order], 0)
        assert [each.kind for each in snapshot.reports] == [ReportKind.NOT_FOUND]
        assert not world.exchange.orders(ACCOUNT)

    run_with(test, faults=Script(requests=[Fault(kind)]), answer_s=0.2)


def test_vague_answer_is_no_refusal() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(10)
        await world.submit(order)
        await world.until_kinds(order, UNANSWERED)
        snapshot = await of(world).look("test", [order], 0)
        assert [each.lots for each in snapshot.orders] == [10]

    run_with(test, faults=Script(answers=[Fault(FaultKind.VAGUE_ACK)]), answer_s=0.2)


def test_fill_waits_for_a_commission_that_was_lost_and_asks_for_it() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(10)
        await world.submit(order)
        drop = Fault(FaultKind.DROP)
        script.messages = [None, None, None, drop]  # execution, order, status, commission
        await world.play()
        await world.until_kinds(order, A, F)
        assert world.reports(order)[1].fee == 100_000_000
        assert not script.messages

    script = Script()
    run_with(test, faults=script)


def test_fill_whose_commission_was_lost_with_the_connection_waits_for_the_next_one() -> None:
    """Told without it, the cash of the account would differ for good."""

    async def test(world: LocalTws) -> None:
        order = world.order(10)
        await world.submit(order)
        script.messages = [None, None, None, Fault(FaultKind.DROP)]
        await world.play()
        await world.until(lambda: not script.messages)
        await world.server.restart(60)
        await world.until(lambda: not world.changes()[-1].is_up)
        await asyncio.sleep(0.2)
        assert world.kinds(order) == [A]
        await world.server.restart(0)
        await world.until_kinds(order, A, F)
        assert world.reports(order)[1].fee == 100_000_000

    script = Script()
    run_with(test, faults=script, fee_wait_s=0.02)


def test_fill_is_told_without_a_commission_that_ib_never_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(10)
        await world.submit(order)
        await world.play()
        await world.until_kinds(order, A, F)
        fill = world.reports(order)[1]
        assert (fill.lots, fill.fee, fill.reason) == (10, 0, "IB has told no commission")

    monkeypatch.setattr(
        "ib_async.decoder.Decoder.commissionReport", lambda self, fields: None
    )  # fmt: skip
    run_with(test, fee_wait_s=0.02)


def test_end_of_an_order_waits_for_the_commission_of_its_fills() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(30, order_type=LIMIT, limit=far(world, -500))
        await world.submit(order)
        script.messages = [None, None, None, Fault(FaultKind.DROP)]
        await world.play()
        await world.cancel(order)
        await world.until_kinds(order, A, F, C)
        filled = world.reports(order)[1].lots
        assert world.reports(order)[2].filled_lots == filled > 0

    script = Script()
    run_with(test, faults=script, models={"max_volume_ratio": 1e-5})


def test_no_order_id_is_used_again_behind_a_lost_connection() -> None:
    """TWS begins behind the newest order that it has seen; an order that it never saw had an id."""

    async def test(world: LocalTws) -> None:
        lost = world.order(10)
        await world.submit(lost)
        await world.until_kinds(lost, UNANSWERED)
        await world.server.restart(0.0)
        await world.until(lambda: [each.is_up for each in world.changes()] == [True, False, True])
        orders = [world.order(1, order_type=LIMIT, limit=far(world)) for _ in range(12)]
        for each in orders:
            await world.submit(each)
        await world.cancel(lost)  # which must not cancel another one
        assert [each.client_order_id for each in world.exchange.open_orders(ACCOUNT)] == [
            each.client_order_id for each in orders
        ]

    script = Script(requests=[Fault(FaultKind.UNAVAILABLE)])
    run_with(test, faults=script, answer_s=0.2)


def test_connection_of_tws_to_ib_is_told_down_and_up() -> None:
    async def test(world: LocalTws) -> None:
        world.server.tell_all(1100, "Connectivity between IB and TWS has been lost.")
        world.server.tell_all(2110, "Connectivity between TWS and server is broken.")
        world.server.tell_all(1102, "Connectivity restored, data maintained.")
        await world.until(lambda: len(world.changes()) == 3)
        assert [each.is_up for each in world.changes()] == [True, False, True]
        assert "(1100)" in world.changes()[1].reason

    run_with(test)


def test_message_that_can_not_be_read_ends_the_connection_and_the_next_one_goes_on() -> None:
    async def test(world: LocalTws) -> None:
        (connection,) = world.server._connections.values()  # pyright: ignore[reportPrivateUsage]
        connection.tell([11, -1, "no execution"])
        await world.until(lambda: [each.is_up for each in world.changes()] == [True, False, True])
        assert "can't be read" in world.changes()[1].reason

    run_with(test)


def test_correction_of_an_execution_makes_the_session_look_and_is_no_second_fill() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(10)
        await world.submit(order)
        await world.play()
        await world.until_kinds(order, A, F)
        (connection,) = world.server._connections.values()  # pyright: ignore[reportPrivateUsage]
        desk = world.server._orders  # pyright: ignore[reportPrivateUsage]
        execution = world.exchange.executions(ACCOUNT)[0]
        fields = desk.show_fill(-1, execution, world.exchange.orders(ACCOUNT)[0])
        assert fields[14] == "0000me.00000001.01.01"
        fields[14] = "0000me.00000001.01.02"
        connection.tell(fields)
        await world.until(lambda: len(world.changes()) == 2)
        assert "corrected the execution" in world.changes()[1].reason
        assert world.kinds(order) == [A, F]

    run_with(test)


def test_messages_are_held_back_before_tws_would_close_the_connection() -> None:
    async def test(world: LocalTws) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        orders = [world.order(1, order_type=LIMIT, limit=far(world)) for _ in range(12)]
        await asyncio.gather(*(world.submit(each) for each in orders))
        assert len(world.exchange.open_orders(ACCOUNT)) == 12
        assert loop.time() - began > 0.9
        assert [each.is_up for each in world.changes()] == [True]

    run_with(test, per_second=10, venue_per_second=12, answer_s=5.0)


def test_whoever_sends_too_much_is_cut_off() -> None:
    async def test(world: LocalTws) -> None:
        orders = [world.order(1, order_type=LIMIT, limit=far(world)) for _ in range(30)]
        await asyncio.gather(*(world.submit(each) for each in orders))
        await world.until(lambda: False in [each.is_up for each in world.changes()])
        assert any(UNANSWERED in world.kinds(each) for each in orders)

    run_with(test, venue_per_second=20)


def test_look_tells_everything_of_the_account() -> None:
    async def test(world: LocalTws) -> None:
        bought, rests = world.order(10), world.order(5, order_type=LIMIT, limit=far(world))
        gone = world.order(5, order_type=LIMIT, limit=far(world))
        for each in (bought, rests, gone):
            await world.submit(each)
        await world.play()
        await world.cancel(gone)
        snapshot = await of(world).look("test", [bought, rests, gone], 0)
        (standing,) = snapshot.orders
        assert standing == VenueOrder(
            client_order_id=rests.client_order_id, venue_order_id=standing.venue_order_id,
            instrument=AAPL.id, side=rests.side, order_type=LIMIT, lots=5, filled_lots=0,
            limit_ticks=rests.limit_ticks,
        )  # fmt: skip
        assert [(each.client_order_id, each.kind) for each in snapshot.reports] == [
            (bought.client_order_id, F), (gone.client_order_id, C),
        ]  # fmt: skip
        assert [each.lots for each in snapshot.positions] == [10]
        cash = world.exchange.books(ACCOUNT).balances["USD"].total
        assert [(each.currency, each.amount) for each in snapshot.balances] == [("USD", cash)]
        assert snapshot.ts_venue == world.exchange.now
        later = await of(world).look("test", [], world.exchange.now + 10**9)
        assert not later.reports

    run_with(test)


def test_order_by_hand_is_shown_as_not_ours() -> None:
    async def test(world: LocalTws) -> None:
        other = world.make_gateway(client_id=9)
        await other.open(world.instruments, world.hear)
        order = world.order(5, order_type=LIMIT, limit=far(world))
        await other.submit(order)
        (standing,) = (await of(world).look("test", [], 0)).orders
        assert standing.client_order_id == order.client_order_id  # which no session here knows
        await other.close()

    run_with(test, timeline=make_minutes(AAPL, MSFT), rows=4)


def test_venue_that_is_down_is_told_and_nothing_can_be_asked() -> None:
    async def test(world: LocalTws) -> None:
        await world.server.restart(30.0)
        await world.until(lambda: [each.is_up for each in world.changes()] == [True, False])
        with pytest.raises(VenueUnavailable, match="can't be reached"):
            await of(world).look("test", [], 0)
        order = world.order(10)
        await world.submit(order)
        await world.until_kinds(order, UNANSWERED)

    run_with(test)


def test_notice_about_an_order_is_no_refusal() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(10, order_type=LIMIT, limit=far(world))
        await world.submit(order)
        (connection,) = world.server._connections.values()  # pyright: ignore[reportPrivateUsage]
        number = world.server._orders._highest[1]  # pyright: ignore[reportPrivateUsage]
        connection.tell(show_error(number, 399, "Your order will not be placed until 09:30"))
        connection.tell(show_error(number, 2109, "Order Event Warning: outside RTH is ignored"))
        await world.cancel(order)
        await world.until_kinds(order, A, C)

    run_with(test)
