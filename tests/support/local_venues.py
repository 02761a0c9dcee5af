"""A local exchange over small or generated data, and a backtest's commands given to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from onetape.domain.errors import VenueUnavailable
from onetape.domain.events import OrderCancelPending, OrderReplacePending, OrderSubmitted
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderConditions
from onetape.execution.gateway import Hear, VenueGateway
from onetape.execution.simulated.fees import BpsFees, FeeModel
from onetape.marketdata.timeline import Timeline
from onetape.runtime.local_venues.accounts import ExchangeRules
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.messages import (
    Changes,
    Happening,
    NewOrder,
    OrderUpdate,
    PlacedOrder,
    Refusal,
)
from tests.support.session_runs import SessionRun, make_terms

Gateway = TypeVar("Gateway", bound=VenueGateway)

ME = "me"
PAIRS = ExchangeRules(fee_in_base_of_buys=True, never_overdraws=True)
SHARES = ExchangeRules(can_short=True, leverage=4, is_client_id_unique_for_ever=True)


def make_exchange(
    timeline: Timeline,
    rules: ExchangeRules = PAIRS,
    *,
    fees: FeeModel | None = None,
    accounts: dict[str, dict[str, int]] | None = None,
    **models: Any,
) -> LocalExchange:
    """One account `ME` with 100,000 of USD and of USDT unless told otherwise."""
    terms = make_terms(timeline, fees=fees or BpsFees(maker_bps=10, taker_bps=10), **models)
    cash = {"USD": 100_000 * E8, "USDT": 100_000 * E8}
    return LocalExchange(timeline, terms, rules, accounts or {ME: cash})


async def open_patiently(
    make: Callable[[], Gateway], instruments: Sequence[Instrument] | InstrumentId, tell: Hear
) -> Gateway:
    """An open gateway; an impatient one may get no first answers in time on a busy machine.

    Of an instrument that is only named it asks the venue first.
    """
    attempts_left = 5
    while True:
        gateway = make()
        attempts_left -= 1
        try:
            known = instruments
            if isinstance(known, str):
                known = await gateway.define([known])
            await gateway.open(known, tell)
        except Exception as error:
            await gateway.close()
            if not attempts_left or not isinstance(error, VenueUnavailable):
                raise
        else:
            return gateway


def hear(exchange: LocalExchange) -> list[Happening]:
    """A list to which everything that happens is appended."""
    heard: list[Happening] = []
    exchange.listen(heard.append)
    return heard


def updates(heard: list[Happening]) -> list[OrderUpdate]:
    return [each for each in heard if isinstance(each, OrderUpdate)]


def placed(answer: PlacedOrder | Refusal) -> PlacedOrder:
    """The answer, which is no refusal."""
    assert isinstance(answer, PlacedOrder), answer
    return answer


def refused(answer: PlacedOrder | Refusal | None) -> Refusal:
    """The answer, which is one."""
    assert isinstance(answer, Refusal), answer
    return answer


def to_request(command: OrderSubmitted, instrument: Instrument) -> NewOrder:
    """What a client would write for a command of ours."""
    terms = command.conditions or OrderConditions()
    return NewOrder(
        symbol=instrument.symbol,
        client_order_id=command.client_order_id,
        side=command.side,
        order_type=command.order_type,
        time_in_force=command.time_in_force,
        quantity=instrument.lots_to_quantity(command.lots),
        budget=Decimal(command.budget).scaleb(-8),
        limit=instrument.ticks_to_price(command.limit_ticks),
        stop=instrument.ticks_to_price(command.stop_ticks),
        trail=instrument.ticks_to_price(terms.trail_ticks),
        trail_ratio=Decimal(terms.trail_ratio_e8).scaleb(-8),
        ts_expire=command.ts_expire,
        post_only=terms.post_only,
        display=instrument.lots_to_quantity(terms.display_lots),
    )


def give_commands(exchange: LocalExchange, run: SessionRun) -> None:
    """Give the exchange what a backtest sent to its venue, when it sent it; play to the end."""
    instruments = {each.id: each for each in exchange.instruments.values()}
    for event in run.events:
        command = event.payload
        if isinstance(command, OrderSubmitted):
            exchange.advance(event.ts_event)
            request = to_request(command, instruments[command.instrument])
            placed(exchange.submit(ME, request))
        elif isinstance(command, OrderCancelPending | OrderReplacePending):
            exchange.advance(event.ts_event)
            order = exchange.find(ME, client_order_id=command.client_order_id)
            assert order is not None
            if isinstance(command, OrderCancelPending):
                exchange.cancel(ME, order.number)
                continue
            one = instruments[order.instrument]
            exchange.replace(
                ME,
                order.number,
                Changes(
                    quantity=one.lots_to_quantity(command.lots),
                    limit=one.ticks_to_price(command.limit_ticks),
                    stop=one.ticks_to_price(command.stop_ticks),
                ),
            )
    while exchange.step():
        pass
