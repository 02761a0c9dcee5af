"""What a local TWS answers when it is asked: contracts, bars, orders, fills, the account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from onetape.domain.instrument import Instrument
from onetape.domain.market import Bar
from onetape.domain.numbers import minor_to_decimal
from onetape.domain.timestamps import NS_PER_SECOND, timeframe_ns
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.ibkr_connection import TwsConnection
from onetape.runtime.local_venues.ibkr_orders import OrderDesk
from onetape.runtime.local_venues.ibkr_shapes import find_start, show_commission
from onetape.runtime.local_venues.ibkr_wire import (
    read_contract,
    show_completed_order,
    show_details,
    show_error,
    show_open_order,
    show_status,
)

_NO_SECURITY = "No security definition has been found for the request"
_UNITS = {"sec": "s", "min": "m", "hour": "h", "day": "d", "week": "w"}
_LIKE_MAX = 16

Answer = Callable[[TwsConnection, list[str]], None]


class Questions:
    """The questions of one account.

    Args:
        exchange: What is asked.
        orders: Of the account.
        account: At the exchange.
        code: What TWS calls it.
        skew_s: How far the venue's clock is off.
    """

    def __init__(
        self,
        exchange: LocalExchange,
        orders: OrderDesk,
        account: str,
        code: str,
        skew_s: Callable[[], float],
    ) -> None:
        self._exchange = exchange
        self._orders = orders
        self._account = account
        self._code = code
        self._skew_s = skew_s
        self._answers: dict[int, Answer] = {
            5: self._tell_open_orders, 6: self._tell_values, 7: self._tell_executions,
            8: self._tell_next_id, 9: self._tell_contract, 15: self._bind,
            16: self._tell_all_open_orders, 20: self._tell_history,
            49: self._tell_time, 50: self._subscribe, 51: self._unsubscribe,
            61: self._tell_positions, 62: self._tell_summary, 81: self._tell_like,
            91: self._tell_rule, 99: self._tell_completed,
        }  # fmt: skip

    def find(
        self, connection: TwsConnection, message: list[str], kind: int
    ) -> Callable[[], None] | None:
        """What answers a message; None: nothing does, as for the end of a subscription."""
        answer = self._answers.get(kind)
        return (lambda: answer(connection, message)) if answer is not None else None

    # Contracts and bars.

    def _tell_contract(self, connection: TwsConnection, message: list[str]) -> None:
        request = int(message[2])
        instrument = self._orders.find_instrument(read_contract(message, 3))
        if instrument is None:
            connection.answer(show_error(request, 200, _NO_SECURITY))
            return
        shown = self._orders.contract_of(instrument)
        connection.answer(show_details(request, shown), [52, 1, request])

    def _tell_like(self, connection: TwsConnection, message: list[str]) -> None:
        """Stocks whose name begins like the one asked for, or is in it."""
        request, pattern = int(message[1]), message[2].upper()
        like = [
            each for each in self._exchange.instruments.values()
            if each.symbol[:1] == pattern[:1]
        ][:_LIKE_MAX]  # fmt: skip
        fields: list[str | int] = [79, request, len(like)]
        for each in like:
            shown = self._orders.contract_of(each)
            fields += [shown.con_id, shown.symbol, "STK", shown.primary, shown.currency, 0, "", ""]
        connection.answer(fields)

    def _tell_rule(self, connection: TwsConnection, message: list[str]) -> None:
        """The one step of prices of the stock whose number the rule has."""
        for each in self._exchange.instruments.values():
            shown = self._orders.contract_of(each)
            if shown.con_id == int(message[1]):
                connection.answer([93, shown.con_id, 1, 0, shown.tick])

    def _tell_history(self, connection: TwsConnection, message: list[str]) -> None:
        request = int(message[1])
        instrument = self._orders.find_instrument(read_contract(message, 2))
        if instrument is None:
            connection.answer(show_error(request, 200, _NO_SECURITY))
            return
        try:
            bars = self._find_bars(instrument, message[15], message[16], message[17])
        except ValueError as error:
            words = f"Historical Market Data Service error message:{error}"
            connection.answer(show_error(request, 162, words))
            return
        if not bars:
            words = "Historical Market Data Service error message:HMDS query returned no data: "
            connection.answer(show_error(request, 162, f"{words}{instrument.symbol}@SMART Trades"))
            return
        shown: list[str | int | float] = []
        for each in bars:
            shown += [each.ts_open // NS_PER_SECOND, each.open, each.high, each.low, each.close,
                      each.volume, each.close, 1]  # fmt: skip
        connection.answer([17, request, "", "", len(bars), *shown])

    def _find_bars(self, instrument: Instrument, until: str, size: str, duration: str) -> list[Bar]:
        """The bars of a request, oldest first; only those of the replayed length are there."""
        count, unit = size.split(" ")
        length = timeframe_ns(f"{count}{_UNITS.get(unit.removesuffix('s'), unit)}")
        end = self._exchange.now
        if until:
            moment = datetime.strptime(until, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
            end = int(moment.timestamp()) * NS_PER_SECOND
        rows = [each.event for each in self._exchange.rows(instrument.symbol)]
        bars = [
            each for each in rows
            if isinstance(each, Bar) and each.ts_close - each.ts_open == length
            and each.ts_open < end
        ]  # fmt: skip
        start = find_start(duration, [each.ts_open for each in bars], end)
        return [each for each in bars if each.ts_open >= start]

    def _subscribe(self, connection: TwsConnection, message: list[str]) -> None:
        request = int(message[2])
        instrument = self._orders.find_instrument(read_contract(message, 3))
        if instrument is None:
            connection.answer(show_error(request, 200, _NO_SECURITY))
            return
        connection.bars[request] = instrument.symbol

    def _unsubscribe(self, connection: TwsConnection, message: list[str]) -> None:
        connection.bars.pop(int(message[2]), None)

    # Orders and fills.

    def _tell_next_id(self, connection: TwsConnection, _message: list[str]) -> None:
        connection.answer([9, 1, self._orders.next_id(connection.client_id)])

    def _bind(self, connection: TwsConnection, message: list[str]) -> None:
        if connection.client_id == 0 and message[2] == "1":
            self._orders.bind_new()

    def _tell_open_orders(self, connection: TwsConnection, _message: list[str]) -> None:
        if connection.client_id == 0:
            self._orders.bind_open()
        self._tell_orders(connection, connection.client_id)

    def _tell_all_open_orders(self, connection: TwsConnection, _message: list[str]) -> None:
        self._tell_orders(connection, None)

    def _tell_orders(self, connection: TwsConnection, client_id: int | None) -> None:
        for each in self._exchange.open_orders(self._account):
            shown = self._orders.show(each)
            if client_id in (None, shown.client_id):
                connection.answer(show_open_order(shown), show_status(shown))
        connection.answer([53, 1])

    def _tell_completed(self, connection: TwsConnection, _message: list[str]) -> None:
        for each in self._exchange.orders(self._account):
            if not each.is_open:
                connection.answer(show_completed_order(self._orders.show(each)))
        connection.answer([102])

    def _tell_executions(self, connection: TwsConnection, message: list[str]) -> None:
        """Those that fit; each commission follows behind the end, as IB does it."""
        request, client_id, code, since = int(message[2]), message[3], message[4], message[5]
        first = 0
        if since:
            moment = datetime.strptime(since, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
            first = int(moment.timestamp()) * NS_PER_SECOND
        fills = self._exchange.executions(self._account) if code in ("", self._code) else []
        told = []
        filled = Counter[int]()
        for each in fills:
            filled[each.order] += each.lots
            order = self._exchange.find(self._account, number=each.order)
            if order is None or each.ts < first:
                continue
            order = msgspec.structs.replace(order, filled_lots=filled[each.order])  # as it was then
            if client_id in ("", "0", str(self._orders.given_of(order).client_id)):
                told.append(each)
                connection.answer(self._orders.show_fill(request, each, order))
        connection.answer([55, 1, request], *(show_commission(each) for each in told))

    # The account.

    def _tell_time(self, connection: TwsConnection, _message: list[str]) -> None:
        now = self._exchange.now // NS_PER_SECOND + round(self._skew_s())
        connection.answer([49, 1, now])

    def _tell_positions(self, connection: TwsConnection, _message: list[str]) -> None:
        for instrument, held in self._exchange.books(self._account).positions.items():
            one = self._exchange.instrument_of(instrument.rpartition(".")[0])
            if held.lots:
                contract = self._orders.contract_of(one)
                cost = minor_to_decimal(held.cost) / one.lots_to_quantity(held.lots)
                connection.answer(
                    [61, 3, self._code, *contract.fields, one.lots_to_quantity(held.lots), cost]
                )
        connection.answer([62, 1])

    def _tell_values(self, connection: TwsConnection, _message: list[str]) -> None:
        """The account's cash, once: changes are not told."""
        for currency, balance in self._exchange.books(self._account).balances.items():
            for tag in ("CashBalance", "TotalCashBalance"):
                amount = minor_to_decimal(balance.total)
                connection.answer([6, 2, tag, amount, currency, self._code])
        connection.answer([54, 1, self._code])

    def _tell_summary(self, connection: TwsConnection, message: list[str]) -> None:
        """The ledger of each currency."""
        request = int(message[2])
        for currency, balance in self._exchange.books(self._account).balances.items():
            for tag in ("CashBalance", "TotalCashBalance"):
                amount = minor_to_decimal(balance.total)
                connection.answer([63, 1, request, self._code, tag, amount, currency])
        connection.answer([64, 1, request])
