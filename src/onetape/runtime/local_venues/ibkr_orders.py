"""Orders at a local TWS: who gave them, what became of them, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from onetape.domain.instrument import Instrument
from onetape.domain.orders import Side
from onetape.domain.timestamps import NS_PER_DAY
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.ibkr_connection import TwsConnection
from onetape.runtime.local_venues.ibkr_shapes import (
    CON_ID_FIRST,
    LIVES,
    TYPES,
    GivenOrder,
    read_new_order,
    show_commission,
    show_contract,
    show_execution,
    show_order,
    show_refusal,
    show_status_of,
)
from onetape.runtime.local_venues.ibkr_wire import (
    AskedContract,
    AskedOrder,
    Field,
    ShownContract,
    ShownOrder,
    read_order,
    show_error,
    show_open_order,
    show_status,
)
from onetape.runtime.local_venues.messages import (
    Changes,
    Execution,
    OrderUpdate,
    PlacedOrder,
    Refusal,
    RefusalCode,
    UpdateKind,
)

_BOUND_FIRST = -2
"""Order ids of what was given in TWS count down from here; -1 is of no order."""

_ENDS = (UpdateKind.CANCELED, UpdateKind.EXPIRED)


class OrderDesk:
    """The orders of one account.

    Args:
        exchange: Where they go.
        account: Its account.
        code: What TWS calls it.
        find_client: The connection of a client id; None: it is not here.
    """

    def __init__(
        self,
        exchange: LocalExchange,
        account: str,
        code: str,
        find_client: Callable[[int], TwsConnection | None],
    ) -> None:
        self._exchange = exchange
        self._account = account
        self._code = code
        self._find_client = find_client
        self._given: dict[str, GivenOrder] = {}
        self._binds = False
        self._bound = _BOUND_FIRST
        self._by_id: dict[tuple[int, int], GivenOrder] = {}
        self._highest: dict[int, int] = {}
        self._shown: dict[str, tuple[int, ShownContract]] = {}
        self._instruments = {each.id: each for each in exchange.instruments.values()}
        self._con_ids = {each: CON_ID_FIRST + at for at, each in enumerate(exchange.instruments)}

    def next_id(self, client_id: int) -> int:
        """The order id that a client may begin with."""
        return self._highest.get(client_id, 0) + 1

    def find_instrument(self, contract: AskedContract) -> Instrument | None:
        """The stock that a client means."""
        if contract.con_id:
            names = [name for name, each in self._con_ids.items() if each == contract.con_id]
            return self._exchange.instruments[names[0]] if names else None
        found = self._exchange.instruments.get(contract.symbol)
        if found is None or contract.kind != "STK" or contract.currency != found.quote_currency:
            return None
        return found

    def contract_of(self, instrument: Instrument) -> ShownContract:
        """A stock as IB shows it."""
        now = self._exchange.now
        day = now // NS_PER_DAY
        known = self._shown.get(instrument.symbol)
        if known is None or known[0] != day:
            con_id = self._con_ids[instrument.symbol]
            known = self._shown[instrument.symbol] = (day, show_contract(instrument, con_id, now))
        return known[1]

    # Requests.

    def place(self, connection: TwsConnection, message: list[str]) -> None:
        """A new order, or a change of the one that has the id."""
        try:
            asked = read_order(message)
        except (IndexError, ValueError) as error:
            connection.answer(show_error(-1, 320, f"Error reading request: {error}"))
            return
        client_id, order_id = connection.client_id, asked.order_id
        instrument = self.find_instrument(asked.contract)
        if asked.account not in ("", self._code):
            connection.answer(show_error(order_id, 435, "You must specify an account."))
            return
        if instrument is None:
            unknown = Refusal(code=RefusalCode.UNKNOWN_SYMBOL, message=asked.contract.symbol)
            connection.answer(show_error(order_id, *show_refusal(unknown)))
            return
        known = self._by_id.get((client_id, order_id))
        if known is not None:
            self._change(connection, known, asked.quantity, GivenOrder(client_id, asked))
            return
        if order_id < self.next_id(client_id):
            connection.answer(show_error(order_id, 103, "Duplicate order id"))
            return
        self._highest[client_id] = order_id
        given = GivenOrder(client_id, asked)
        identity = self._name(asked.reference or f"{client_id}/{order_id}")
        request = read_new_order(asked, instrument.symbol, identity)
        self._given[identity] = given
        self._by_id[client_id, order_id] = given
        placed = (
            request if isinstance(request, Refusal)
            else self._exchange.submit(self._account, request)
        )  # fmt: skip
        if isinstance(placed, Refusal):
            del self._given[identity], self._by_id[client_id, order_id]
            connection.answer(show_error(order_id, *show_refusal(placed)))

    def _name(self, reference: str) -> str:
        """The exchange's id of an order: IB takes a reference again, the exchange does not."""
        name, number = reference, 1
        while name in self._given:
            number += 1
            name = f"{reference}#{number}"
        return name

    def _change(
        self, connection: TwsConnection, given: GivenOrder, quantity: str, wanted: GivenOrder
    ) -> None:
        order = self._exchange.find(self._account, number=given.number)
        asked = wanted.asked
        if order is None or not order.is_open:
            words = "Cannot modify a filled order."
            connection.answer(show_error(given.order_id, 104, words))
            return
        if (asked.action, asked.kind) != (given.asked.action, given.asked.kind):
            words = "Order being modified does not match original order"
            connection.answer(show_error(given.order_id, 105, words))
            return
        kind = order.order_type
        before, given.asked = given.asked, asked
        answer = self._exchange.replace(
            self._account, given.number,
            Changes(
                quantity=Decimal(quantity),
                limit=Decimal(asked.limit) if kind.has_limit else None,
                stop=Decimal(asked.aux) if kind.has_trigger and not kind.is_trailing else None,
                client_order_id=order.client_order_id,
            ),
        )  # fmt: skip
        if isinstance(answer, Refusal):
            given.asked = before
            connection.answer(show_error(given.order_id, *show_refusal(answer)))

    def cancel(self, connection: TwsConnection, order_id: int) -> None:
        """Cancel an order of the client."""
        given = self._by_id.get((connection.client_id, order_id))
        if given is None:
            words = f"OrderId {order_id} that needs to be cancelled is not found."
            connection.answer(show_error(order_id, 10147, words))
            return
        answer = self._exchange.cancel(self._account, given.number)
        if isinstance(answer, Refusal):
            status = show_status_of(answer.order) if answer.order is not None else "Inactive"
            words = f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state: "
            connection.answer(show_error(order_id, 10148, words + status))
        elif answer.is_open:  # it takes time to arrive
            shown = self.show(answer)
            connection.answer([*show_status(shown)[:2], "PendingCancel", *show_status(shown)[3:]])

    def bind_new(self) -> None:
        """From now on orders that are given in TWS get an id of client 0."""
        self._binds = True

    def bind_open(self) -> None:
        """Those that are open in TWS and have none get one."""
        for each in self._exchange.open_orders(self._account):
            given = self.given_of(each)
            if not given.client_id and not given.order_id:
                self._bind(given)

    def _bind(self, given: GivenOrder) -> None:
        given.asked = msgspec.structs.replace(given.asked, order_id=self._bound)
        self._by_id[0, self._bound] = given
        self._bound -= 1

    # What is shown.

    def given_of(self, order: PlacedOrder) -> GivenOrder:
        """How the client gave it."""
        given = self._given.get(order.client_order_id)
        if given is None:  # by hand, at the exchange
            given = GivenOrder(0, _by_hand(order, self._instruments[order.instrument]))
            self._given[order.client_order_id] = given
            if self._binds:
                self._bind(given)
        given.number = order.number
        return given

    def show(self, order: PlacedOrder) -> ShownOrder:
        """An order of the exchange as it is now."""
        instrument = self._instruments[order.instrument]
        moves = order.is_open and order.order_type.is_trailing
        stop = self._exchange.stop_of(order.number) if moves else order.stop_ticks
        return show_order(order, self.given_of(order), self.contract_of(instrument), instrument,
                          stop, self._code)  # fmt: skip

    def show_fill(self, request: int, execution: Execution, order: PlacedOrder) -> list[Field]:
        """A fill; `order` as it is behind it."""
        instrument = self._instruments[order.instrument]
        return show_execution(
            request, execution, order, self.given_of(order), self.contract_of(instrument),
            instrument, self._code,
        )  # fmt: skip

    def on_update(self, update: OrderUpdate) -> None:
        """Tell the client that gave an order what happened to it."""
        order = update.order
        given = self.given_of(order)
        connection = self._find_client(given.client_id)
        if connection is None or update.account != self._account:
            return
        shown = self.show(order)
        if update.kind is UpdateKind.CANCEL_REFUSED:
            words = f"OrderId {given.order_id} that needs to be cancelled cannot be cancelled"
            connection.tell(show_error(given.order_id, 10148, f"{words}, state: {shown.status}"))
            return
        if update.kind is UpdateKind.REPLACE_REFUSED:
            words = f"Order rejected - reason:{update.reason}"
            connection.tell(show_error(given.order_id, 201, words))
            return
        if update.execution is not None:
            connection.tell(self.show_fill(-1, update.execution, order))
        if update.kind in _ENDS:
            words = f"Order Canceled - reason:{update.reason}"
            connection.tell(show_error(given.order_id, 202, words))
        connection.tell(show_open_order(shown), show_status(shown))
        if update.execution is not None:
            connection.tell(show_commission(update.execution))


def _by_hand(order: PlacedOrder, instrument: Instrument) -> AskedOrder:
    """An order that was given at the exchange itself, as if in TWS: of client 0, without an id."""
    kinds = {kind: name for name, kind in reversed(TYPES.items())}
    lives = {life: name for name, life in LIVES.items()}
    limit = instrument.ticks_to_price(order.limit_ticks)
    return AskedOrder(
        order_id=0, contract=AskedContract(0, instrument.symbol, "STK", "SMART", ""),
        action="BUY" if order.side is Side.BUY else "SELL", quantity="",
        kind=kinds[order.order_type], limit=f"{limit:f}", aux="",
        life=lives.get(order.time_in_force, "DAY"), account="", reference="", parent="", display="",
        good_till="", trail_stop="", trail_percent="",
    )  # fmt: skip
