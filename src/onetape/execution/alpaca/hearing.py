"""Hears Alpaca's stream and tells the session, one message after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import InvalidOperation
from typing import Any

import msgspec

from onetape.domain.errors import ConfigError, FixInput, VenueUnavailable
from onetape.domain.instrument import Instrument
from onetape.domain.orders import RejectCode
from onetape.domain.venue import ConnectionChanged, ConnectionPart, ReportKind
from onetape.execution.alpaca.access import AlpacaAccess
from onetape.execution.alpaca.chains import Chain, Chains
from onetape.execution.alpaca.reports import report, report_fill, report_replaced
from onetape.execution.alpaca.rest import Refused, Unanswered
from onetape.execution.alpaca.stream import KEYS_REFUSED, KeysRefused, ReportStream
from onetape.execution.alpaca.translation import to_ts
from onetape.execution.alpaca.wire import WireOrder, WireUpdate
from onetape.execution.gateway import Hear, Heard

_WAITING_MAX = 1024

_ENDS = {
    "canceled": ReportKind.CANCELED,
    "expired": ReportKind.EXPIRED,
    "rejected": ReportKind.REJECTED,
}
_REFUSALS = {
    "order_cancel_rejected": ReportKind.CANCEL_REJECTED,
    "order_replace_rejected": ReportKind.REPLACE_REJECTED,
}
_CORRECTIONS = ("trade_bust", "trade_correct")


class Listener:
    """Everything that Alpaca says by itself, and what the gateway has to say.

    Messages wait in a bounded queue, behind which alpaca-py stops reading. A message that can't be
    read ends the connection: the session then asks for what is behind it.

    Args:
        access: The account.
        chains: What is known of our orders.
        by_symbol: Instruments of the session; orders of others are passed over.
        hear: The session.
        name: Of the venue.
    """

    def __init__(
        self,
        access: AlpacaAccess,
        chains: Chains,
        by_symbol: Mapping[str, Instrument],
        hear: Hear,
        name: str,
    ) -> None:
        self._access = access
        self._chains = chains
        self._by_symbol = by_symbol
        self._hear = hear
        self._name = name
        self._waiting: asyncio.Queue[dict[str, Any] | ConnectionChanged] = asyncio.Queue(
            _WAITING_MAX
        )
        self._stream = ReportStream(access, self._waiting.put, self._on_change)
        self._told: tuple[bool, str] | None = None
        self._is_up = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Returns when reports would be heard.

        Raises:
            ConfigError: The keys are refused.
            VenueUnavailable: There is no stream in time.
        """
        reader = asyncio.create_task(self._stream.run(), name="alpaca-reports")
        teller = asyncio.create_task(self._tell_all(), name="alpaca-tell")
        self._tasks = [reader, teller]
        up = asyncio.create_task(self._is_up.wait())
        limit = self._access.answer_s + self._access.first_wait_s
        await asyncio.wait({up, reader}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if up.done():
            return
        up.cancel()
        refused = reader.done() and isinstance(reader.exception(), KeysRefused)
        await self.close()
        if refused:
            raise ConfigError(KEYS_REFUSED, remedy="look at key and secret")
        raise VenueUnavailable("Alpaca's stream of reports can't be reached")

    async def hear(self, heard: Heard) -> None:
        """Tell the session at once.

        Raises:
            Exception: Whatever has ended the telling of the stream.
        """
        for each in self._tasks:
            if each.done() and not each.cancelled() and (error := each.exception()) is not None:
                raise error
        await self._hear(heard)

    async def drop(self, reason: str) -> None:
        """End the connection for this reason and make another one."""
        await self._stream.drop(reason)

    async def hear_down(self, reason: str) -> None:
        """Tell that the venue is gone, where it was there."""
        await self._on_change(False, reason)
        await self._stream.drop(reason)

    async def close(self) -> None:
        """Stop."""
        await self._stream.close()
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _on_change(self, is_up: bool, reason: str) -> None:
        told = self._told or (False, "")
        # Why it stays down is told again only when it is the keys.
        is_news = reason.startswith(KEYS_REFUSED) and not told[1].startswith(KEYS_REFUSED)
        if told[0] == is_up and (is_up or not is_news):
            return
        self._told = (is_up, reason)
        await self._waiting.put(
            ConnectionChanged(
                part=ConnectionPart.VENUE, name=self._name, is_up=is_up, reason=reason
            )
        )
        if is_up:
            self._is_up.set()

    async def _tell_all(self) -> None:
        while True:
            each = await self._waiting.get()
            if isinstance(each, ConnectionChanged):
                await self._hear(each)
                continue
            try:
                heard = await self._translate(each)
            except (msgspec.ValidationError, InvalidOperation, FixInput) as error:
                await self._stream.drop(f"a message can't be read: {error}")
            except (Refused, Unanswered) as error:
                await self._stream.drop(f"a message can't be completed: {error}")
            else:
                if heard is not None:
                    await self._hear(heard)

    async def _translate(self, message: dict[str, Any]) -> Heard | None:
        update = msgspec.convert(message, WireUpdate)
        order = update.order
        instrument = self._by_symbol.get(order.symbol)
        if instrument is None:
            return None
        if update.event in _CORRECTIONS:
            reason = f"Alpaca has corrected an execution of order {order.id} ({update.event})"
            return ConnectionChanged(
                part=ConnectionPart.VENUE, name=self._name, is_up=True, reason=reason
            )
        chain = await self._chains.note(order, instrument)
        if update.event == "replaced":
            link = await self._chains.follow(chain, order)
            if link is None:
                return None
            chain.told_link = link.id
            return report_replaced(link, chain, to_ts(update.timestamp))
        return self._report(update, order, chain)

    def _report(self, update: WireUpdate, order: WireOrder, chain: Chain) -> Heard | None:
        ts, event = to_ts(update.timestamp), update.event
        said = f"Alpaca: {event} {update.reason}".rstrip()
        is_replacement = order.replaces is not None
        if event in ("fill", "partial_fill"):
            if update.price is None or update.qty is None:
                raise msgspec.ValidationError("a fill without a price or a quantity")
            return report_fill(
                order, chain, quantity=update.qty, price=update.price,
                filled_quantity=order.filled_qty, ts_venue=ts,
            )  # fmt: skip
        if event == "rejected" and is_replacement:
            self._chains.drop_link(chain, order.id)
            return report(ReportKind.REPLACE_REJECTED, chain.current, chain,
                          ts_venue=ts, reason=said)  # fmt: skip
        if event in ("new", "accepted"):
            if chain.is_accepted or is_replacement:
                return None
            chain.is_accepted = True
            return report(ReportKind.ACCEPTED, order, chain, ts_venue=ts)
        if event in _ENDS:
            return report(_ENDS[event], order, chain, ts_venue=ts,
                          reason=said)  # fmt: skip
        if event in _REFUSALS:
            code = RejectCode.UNSUPPORTED if order.is_open else RejectCode.ORDER_CLOSED
            return report(_REFUSALS[event], order, chain, ts_venue=ts, code=code,
                          reason=said)  # fmt: skip
        if event == "restated" and order.type.startswith("stop"):
            return report(ReportKind.TRIGGERED, order, chain, ts_venue=ts)
        return None
