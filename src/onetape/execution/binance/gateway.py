"""The gateway to Binance spot: our commands as its requests, what comes of them as our reports.

Source: Binance Spot REST API, "Trading endpoints" and "Account endpoints"; "Error codes".
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from onetape.domain.errors import ConfigError, VenueUnavailable
from onetape.domain.events import OrderCancelPending, OrderReplacePending, OrderSubmitted
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.orders import RejectCode
from onetape.domain.timestamps import NS_PER_MS, NS_PER_SECOND
from onetape.domain.venue import (
    ConnectionChanged,
    ConnectionPart,
    ReportKind,
    VenueReport,
    VenueSnapshot,
)
from onetape.execution.binance.look import Looker
from onetape.execution.binance.order_ids import OrderIds
from onetape.execution.binance.replacing import Replacer
from onetape.execution.binance.tracking import OrderBookOfOurs, Tracked
from onetape.execution.binance.user_stream import UserStream
from onetape.execution.binance.wire import (
    CLOSED,
    ORDER_TYPES,
    TIMES_IN_FORCE,
    NotSendable,
    is_duplicate,
    is_taker_refusal,
    read_code,
    to_order,
)
from onetape.execution.gateway import Capabilities, Hear
from onetape.marketdata.feeds.binance_client import (
    BinanceClient,
    BinanceRefusal,
    BinanceSettings,
    NoAnswer,
    SocketGone,
)
from onetape.marketdata.feeds.binance_instruments import read_symbols, to_instrument

_HEAR_WAIT_S = 1.0
"""How long an answer waits for the stream to say the same, with all fills before it."""


class BinanceGateway:
    """One spot account.

    Args:
        settings: How to reach it.
        strategies: Names of the strategies that order.
        name: Of the venue.

    Raises:
        ConfigError: The names don't fit into Binance's order ids, or ccxt is not installed.
    """

    capabilities = Capabilities(
        order_types=ORDER_TYPES,
        times_in_force=TIMES_IN_FORCE,
        can_replace=True,
        has_post_only=True,
        has_iceberg=True,
        has_fractions=True,
    )

    def __init__(self, settings: BinanceSettings, strategies: Sequence[str],
                 name: str = "BINANCE") -> None:  # fmt: skip
        self.name = name
        self._settings = settings
        self._ids = OrderIds(strategies)
        self._client = BinanceClient(settings)
        self._stream = UserStream(self._client, self._on_event, self._on_change)
        self._instruments: dict[InstrumentId, Instrument] = {}
        self._ours = OrderBookOfOurs(self._ids, {})
        self._hear: Hear | None = None
        self._settled_ns = 0

    async def define(self, instruments: Sequence[InstrumentId]) -> tuple[Instrument, ...]:
        """See `VenueGateway`."""
        found = await self._read_infos([each.rpartition(".")[0] for each in instruments])
        return tuple(
            to_instrument(each, info) for each, info in zip(instruments, found, strict=True)
        )

    async def _read_infos(self, symbols: Sequence[str]) -> list[dict[str, Any]]:
        try:
            return list((await read_symbols(self._client, symbols)).values())
        except (NoAnswer, BinanceRefusal) as error:
            raise _unavailable(error) from None

    async def open(self, instruments: Sequence[Instrument], hear: Hear) -> None:
        """See `VenueGateway`."""
        _check_currencies(instruments)
        self._instruments = {each.id: each for each in instruments}
        self._ours = OrderBookOfOurs(self._ids, {each.symbol: each for each in instruments})
        self._hear = hear
        try:
            await self._client.set_clock()
            skew_s = abs(self._client.offset_ns) / NS_PER_SECOND
            if skew_s > self._settings.clock_skew_max_s:
                raise VenueUnavailable(f"the clock of binance is {skew_s:.0f} s from ours",
                                       remedy="set this machine's clock")  # fmt: skip
            infos = await self._read_infos([each.symbol for each in instruments])
            await self._check_account(instruments[0])
            await self._stream.open()
        except BinanceRefusal as refusal:
            if refusal.is_access:
                raise ConfigError(f"binance refuses the keys: {refusal}",
                                  remedy="check the key, its secret, its rights and its addresses",
                                  ) from None  # fmt: skip
            raise _unavailable(refusal) from None
        except (NoAnswer, SocketGone, TimeoutError) as error:
            raise _unavailable(error) from None
        self._replacer = Replacer(
            self._client, self._ours, self._tell,
            can_amend={each["symbol"] for each in infos if each.get("amendAllowed")},
            can_replace={each["symbol"] for each in infos if each.get("cancelReplaceAllowed")},
        )  # fmt: skip
        self._looker = Looker(self._client, self._ours, self._instruments, self.name)

    async def _check_account(self, instrument: Instrument) -> None:
        account = await self._client.ask("GET", "account", signed=True, weight=20)
        if not account.get("canTrade"):
            raise ConfigError("the account at binance may not trade",
                              remedy="ask binance why")  # fmt: skip
        rates = await self._client.ask(
            "GET", "account/commission", {"symbol": instrument.symbol}, signed=True, weight=20
        )
        discount = rates.get("discount") or {}
        if discount.get("enabledForAccount"):
            asset = discount.get("discountAsset", "BNB")
            raise ConfigError(
                f"the account at binance pays fees in {asset}, which the books can't follow",
                remedy=f'switch "pay fees in {asset}" off in the account',
            )
        try:  # a request that has no effect, to see whether the key may trade
            await self._client.ask(
                "POST", "order/test",
                {"symbol": instrument.symbol, "side": "BUY", "type": "MARKET",
                 "quantity": f"{instrument.lots_to_quantity(instrument.min_lots):f}"},
                signed=True,
            )  # fmt: skip
        except BinanceRefusal as refusal:
            if refusal.is_access:
                raise

    async def submit(self, order: OrderSubmitted) -> None:
        """See `VenueGateway`."""
        instrument = self._instruments[order.instrument]
        try:
            params = to_order(order, instrument, lots=order.lots, limit_ticks=order.limit_ticks,
                              stop_ticks=order.stop_ticks)  # fmt: skip
            params["newClientOrderId"] = self._ids.to_wire(order.client_order_id)
        except (NotSendable, ConfigError) as error:
            await self._say(ReportKind.REJECTED, order, reason=str(error))
            return
        new = Tracked(lots=order.lots, limit_ticks=order.limit_ticks, stop_ticks=order.stop_ticks)
        tracked = self._ours.open.setdefault(order.client_order_id, new)
        with tracked.sending():
            await self._submit(order, tracked, params)

    async def _submit(
        self, order: OrderSubmitted, tracked: Tracked, params: dict[str, Any]
    ) -> None:
        try:
            answer = await self._client.ask("POST", "order", params, signed=True, orders=1)
        except BinanceRefusal as refusal:
            if refusal.is_unclear or is_duplicate(refusal):
                await self._say_unanswered(order, tracked, str(refusal))
                return
            self._ours.end(order.client_order_id)
            if is_taker_refusal(refusal):
                await self._say(ReportKind.CANCELED, order, reason=refusal.message)
            else:
                await self._say_refused(ReportKind.REJECTED, order, refusal)
            return
        except NoAnswer as error:
            await self._say_unanswered(order, tracked, str(error))
            return
        tracked.venue_order_id = str(answer["orderId"])
        self._ours.remember_name(
            params["symbol"], tracked.venue_order_id, params["newClientOrderId"]
        )
        if not tracked.is_told:
            tracked.is_told = True
            tracked.is_waiting = order.order_type.has_trigger
            await self._say(
                ReportKind.ACCEPTED, order, venue_order_id=tracked.venue_order_id,
                ts_venue=int(answer["transactTime"]) * NS_PER_MS,
            )  # fmt: skip

    async def cancel(self, command: OrderCancelPending, order: OrderSubmitted) -> None:
        """See `VenueGateway`."""
        instrument = self._instruments[order.instrument]
        tracked = await self._follow(order, ReportKind.CANCEL_REJECTED)
        if tracked is None:
            return
        try:
            while not await self._cancel(order, tracked, instrument.symbol):
                pass  # a successor that was not heard of before is canceled next
        except BinanceRefusal as refusal:
            if refusal.is_unclear:
                await self._say_unanswered(order, None, str(refusal))
            else:
                await self._say_refused(ReportKind.CANCEL_REJECTED, order, refusal)
        except NoAnswer as error:
            await self._say_unanswered(order, None, str(error))

    async def _cancel(self, order: OrderSubmitted, tracked: Tracked, symbol: str) -> bool:
        """Cancel the order as it stands; returns whether nothing has taken its place meanwhile."""
        generation = tracked.generation
        params = {"symbol": symbol, **self._ids.address(order.client_order_id, generation)}
        try:
            answer = await self._client.ask("DELETE", "order", params, signed=True)
        except BinanceRefusal as refusal:
            if refusal.is_unclear or refusal.code != -2011:
                raise
            return await self._settle(
                ReportKind.CANCEL_REJECTED, order, tracked, generation, refusal
            )
        await self._end_by_answer(order, tracked, generation, answer)
        return True

    async def _end_by_answer(
        self, order: OrderSubmitted, tracked: Tracked, generation: int, answer: dict[str, Any]
    ) -> None:
        """Tell the end that an answer tells, unless the stream does so in time.

        An answer that the order is still open only says that the cancel is on its way.
        """
        if answer["status"] not in CLOSED:
            return
        try:
            await asyncio.wait_for(tracked.ended.wait(), _HEAR_WAIT_S)
        except TimeoutError:
            if not tracked.ended.is_set() and tracked.generation == generation:
                instrument, identity = self._instruments[order.instrument], order.client_order_id
                report = self._looker.read_end(instrument, answer, identity, tracked.earlier_lots)
                self._ours.end(order.client_order_id)
                await self._tell(report)

    async def _settle(
        self, kind: ReportKind, order: OrderSubmitted, tracked: Tracked, generation: int,
        refusal: BinanceRefusal,
    ) -> bool:  # fmt: skip
        """Binance knows no open order of this id: is there none, or is it over?

        False: another one has taken its place, by a replace whose answer had not come. Then
        nothing is said.
        """
        state = await self._looker.find(order, generation)
        if tracked.generation > generation:
            return False
        if state is None:
            code = RejectCode.UNKNOWN_ORDER
        elif state["status"] not in CLOSED and state["status"] != "FILLED":
            code = RejectCode.UNSUPPORTED
        else:
            if state["status"] != "FILLED" and not tracked.is_doubtful:
                await self._end_by_answer(order, tracked, generation, state)
                if tracked.generation > generation:
                    return False
            code = RejectCode.ORDER_CLOSED
        await self._say(kind, order, code=code, reason=refusal.message)
        return True

    async def replace(self, command: OrderReplacePending, order: OrderSubmitted) -> None:
        """See `VenueGateway`."""
        tracked = await self._follow(order, ReportKind.REPLACE_REJECTED)
        if tracked is None:
            return
        generation = tracked.generation
        try:
            with tracked.sending():
                await self._replace(command, order, tracked, generation)
        except BinanceRefusal as refusal:
            if refusal.is_unclear:
                await self._say_unanswered(order, None, str(refusal))
            else:
                await self._say_refused(ReportKind.REPLACE_REJECTED, order, refusal)
        except NoAnswer as error:
            await self._say_unanswered(order, None, str(error))

    async def _replace(
        self, command: OrderReplacePending, order: OrderSubmitted, tracked: Tracked, generation: int
    ) -> None:
        kind, instrument = ReportKind.REPLACE_REJECTED, self._instruments[order.instrument]
        try:
            await self._replacer.replace(command, order, tracked, instrument)
        except BinanceRefusal as refusal:
            if refusal.is_unclear or refusal.code != -2011:
                raise
            if not await self._settle(kind, order, tracked, generation, refusal):
                await self._say(kind, order, reason="an earlier change came through meanwhile")

    async def _follow(self, order: OrderSubmitted, refused: ReportKind) -> Tracked | None:
        """How an open order stands, asked for where we have not followed it; else it is told."""
        identity = order.client_order_id
        if identity not in self._ours.open and not self._ours.is_ended(identity):
            try:
                _, reports = await self._looker.trace(order)
            except (BinanceRefusal, NoAnswer) as error:
                await self._say_unanswered(order, None, str(error))
                return None
            for each in reports:
                await self._tell(each)
        tracked = self._ours.open.get(identity)
        if tracked is None:
            await self._say(refused, order, code=RejectCode.ORDER_CLOSED, reason="it is closed")
        return tracked

    async def look(
        self, reason: str, orders: Sequence[OrderSubmitted], since: int
    ) -> VenueSnapshot:
        """See `VenueGateway`. Waits until what was not answered can't be done any more."""
        wait_ns = self._settled_ns - self._client.now_ns()
        if wait_ns > 0:
            await asyncio.sleep(wait_ns / NS_PER_SECOND)
        try:
            return await self._looker.look(reason, orders, since)
        except (NoAnswer, BinanceRefusal) as error:
            raise _unavailable(error) from None

    async def close(self) -> None:
        """See `VenueGateway`."""
        await self._stream.close()
        await self._client.close()

    async def _on_event(self, event: dict[str, Any]) -> None:
        if event.get("e") == "executionReport":
            for report in self._ours.read(event):
                await self._tell(report)

    async def _on_change(self, is_up: bool, reason: str) -> None:
        if self._hear is not None:
            await self._hear(ConnectionChanged(ConnectionPart.VENUE, self.name, is_up, reason))

    async def _tell(self, report: VenueReport) -> None:
        if self._hear is not None:
            await self._hear(report)

    async def _say(self, kind: ReportKind, order: OrderSubmitted, *, reason: str = "",
                   code: RejectCode = RejectCode.UNSUPPORTED, venue_order_id: str = "",
                   ts_venue: int = 0) -> None:  # fmt: skip
        await self._tell(
            VenueReport(
                kind=kind, client_order_id=order.client_order_id, instrument=order.instrument,
                side=order.side, code=code, reason=reason, venue_order_id=venue_order_id,
                ts_venue=ts_venue,
            )
        )  # fmt: skip

    async def _say_refused(
        self, kind: ReportKind, order: OrderSubmitted, refusal: BinanceRefusal
    ) -> None:
        if refusal.is_access:
            self._stream.distrust(f"binance refuses the keys: {refusal}")
        await self._say(kind, order, code=read_code(refusal), reason=str(refusal))

    def _unsettle(self) -> None:
        """Something left that may still be done, as long as its window is open."""
        window_ns = self._settings.recv_window_ms * NS_PER_MS
        self._settled_ns = max(self._settled_ns, self._client.now_ns() + window_ns)

    async def _say_unanswered(
        self, order: OrderSubmitted, new: Tracked | None, reason: str
    ) -> None:
        """Nothing is known of a command; of a `new` order the stream may have told already."""
        self._unsettle()
        if new is None or not new.is_told:
            await self._say(ReportKind.UNANSWERED, order, reason=reason)


def _check_currencies(instruments: Sequence[Instrument]) -> None:
    """A balance is one position or one cash, never both nor two."""
    bases = [each.base_currency for each in instruments]
    both = {each.quote_currency for each in instruments} & set(bases)
    twice = {each for each in bases if bases.count(each) > 1}
    for currency in sorted(both | twice):
        raise ConfigError(
            f"{currency} would be the position of one instrument and belong to another too: an "
            "account at binance has one balance of it",
            remedy="trade them in sessions with accounts of their own",
        )


def _unavailable(error: Exception) -> VenueUnavailable:
    return VenueUnavailable(f"binance does not serve: {error}" if str(error) else
                            "binance does not answer")  # fmt: skip
