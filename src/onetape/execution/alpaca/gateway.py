"""Alpaca behind the port of a venue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from onetape.domain.errors import ConfigError, VenueUnavailable
from onetape.domain.events import OrderCancelPending, OrderReplacePending, OrderSubmitted
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.orders import RejectCode
from onetape.domain.timestamps import NS_PER_SECOND, from_iso
from onetape.domain.venue import (
    ConnectionChanged,
    ReportKind,
    VenueReport,
    VenueSnapshot,
    find_manual,
)
from onetape.execution.alpaca.access import AlpacaAccess
from onetape.execution.alpaca.chains import Chain, Chains, to_link_id
from onetape.execution.alpaca.hearing import Listener
from onetape.execution.alpaca.looking import Looker
from onetape.execution.alpaca.reports import report, report_end, report_missing_fill
from onetape.execution.alpaca.rest import AlpacaRest, Refused, Unanswered, decode
from onetape.execution.alpaca.stream import KEYS_REFUSED
from onetape.execution.alpaca.translation import (
    CAPABILITIES,
    find_problem,
    to_fields,
    to_lots,
    to_reject_code,
)
from onetape.execution.alpaca.wire import WireAccount, WireClock, WireOrder
from onetape.execution.gateway import Capabilities, Hear
from onetape.marketdata.feeds.alpaca_assets import (
    WireAsset,
    by_wire_symbol,
    refuse_unknown,
    to_instrument,
)

_LINKS_TRIED = 20
"""So many names a replacement tries, where earlier ones of a forgotten session are taken."""

_SENDING_LIMIT_S = 3_600.0
"""An order's last command is remembered for so long."""


class AlpacaGateway:
    """One account at Alpaca; see `VenueGateway`.

    Equities and crypto pairs. What a fill costs is told as 0: Alpaca takes fees later. A correction
    or a bust of an execution (`trade_correct`, `trade_bust`) is told as a connection that is up
    again, so that the session asks for the truth by `look`.

    A replacement's quantity counts from its own start (see `chains`), so it is computed from what
    the order has filled just before it is sent. A fill in between makes the new order's total
    larger by as much: the `REPLACED` report says the total that came about.

    Args:
        access: The account.
        clock: Ours, ns UTC.

    Raises:
        ConfigError: alpaca-py is not installed.
    """

    name = "ALPACA"
    capabilities: Capabilities = CAPABILITIES

    def __init__(self, access: AlpacaAccess, clock: Callable[[], int]) -> None:
        self._access = access
        self._clock = clock
        self._rest = AlpacaRest(access)
        self._chains = Chains(self._get_order)
        self._by_symbol: dict[str, Instrument] = {}
        self._by_id: dict[InstrumentId, Instrument] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._sent_at_s: dict[str, float] = {}
        self._listener: Listener | None = None

    async def define(self, instruments: Sequence[InstrumentId]) -> tuple[Instrument, ...]:
        """What Alpaca says of instruments; see the port."""
        found: list[Instrument] = []
        for each in instruments:
            symbol = each.rpartition(".")[0]
            try:
                asset = await self._rest.get(f"/assets/{quote(symbol, safe='')}", WireAsset)
            except Refused as refusal:
                if refusal.status in (404, 422):
                    raise refuse_unknown(each, await self._list_symbols()) from None
                raise self._explain(refusal) from None
            except Unanswered as failure:
                raise self._unavailable(failure) from None
            found.append(to_instrument(each, asset, self._access.equity_lot))
        return tuple(found)

    async def open(self, instruments: Sequence[Instrument], hear: Hear) -> None:
        """Log in, check the clock, and listen; see the port."""
        self._by_symbol = by_wire_symbol(instruments)
        self._by_id = {each.id: each for each in instruments}
        try:
            account = await self._rest.get("/account", WireAccount)
            await self._check_clock()
        except Refused as refusal:
            raise self._explain(refusal) from None
        except Unanswered as failure:
            raise self._unavailable(failure) from None
        if account.trading_blocked or account.account_blocked or account.trade_suspended_by_user:
            raise ConfigError("Alpaca has blocked trading for this account",
                              remedy="look at the account at Alpaca")  # fmt: skip
        self._listener = Listener(self._access, self._chains, self._by_symbol, hear, self.name)
        await self._listener.open()

    async def submit(self, order: OrderSubmitted) -> None:
        """Send a new order; see the port. One that is there already is not sent twice."""
        instrument = self._by_id[order.instrument]
        problem = find_problem(order, instrument)
        if problem:
            await self._tell(order, ReportKind.REJECTED, RejectCode.UNSUPPORTED, problem)
            return
        async with self._lock(order.client_order_id):
            self._remember_sending(order.client_order_id)
            fields = to_fields(order, instrument)
            try:
                answer = await self._rest.ask("POST", "/orders", fields, can_repeat=False)
                await self._tell_taken(decode(answer, WireOrder), instrument)
            except Refused as refusal:
                if _is_duplicate(refusal):
                    await self._tell_duplicate(order, instrument)
                else:
                    await self._tell_refusal(order, ReportKind.REJECTED, refusal)
            except Unanswered as failure:
                await self._tell(order, ReportKind.UNANSWERED, reason=f"submit: {failure}")

    async def cancel(self, command: OrderCancelPending, order: OrderSubmitted) -> None:
        """Cancel an order, whichever of its links stands; see the port."""
        async with self._lock(order.client_order_id):
            self._remember_sending(order.client_order_id)
            try:
                chain = self._chains.find(order.client_order_id)
                if chain is None or not await self._cancel(chain.current.id):
                    # Not known here, or not the link that stands.
                    chain = await self._find(order)
                    if chain is None:
                        raise Refused(404, 40410000, "order not found")
                    path = f"/orders/{chain.current.id}"
                    await self._rest.ask("DELETE", path, can_repeat=False)
            except Refused as refusal:
                await self._tell_refusal(order, ReportKind.CANCEL_REJECTED, refusal)
            except Unanswered as failure:
                await self._tell(order, ReportKind.UNANSWERED, reason=f"cancel: {failure}")

    async def replace(self, command: OrderReplacePending, order: OrderSubmitted) -> None:
        """Change an order: Alpaca makes a new one in its place; see the port and the class."""
        async with self._lock(order.client_order_id):
            self._remember_sending(order.client_order_id)
            try:
                await self._replace(command, order)
            except Refused as refusal:
                await self._tell_refusal(order, ReportKind.REPLACE_REJECTED, refusal)
            except Unanswered as failure:
                await self._tell(order, ReportKind.UNANSWERED, reason=f"replace: {failure}")

    async def look(
        self, reason: str, orders: Sequence[OrderSubmitted], since: int
    ) -> VenueSnapshot:
        """Ask for everything; see the port."""
        try:
            return await Looker(self._rest, self._chains, self._by_symbol, self._find_settled).look(
                self.name, reason, orders, since
            )
        except Refused as refusal:
            if refusal.is_of_keys and self._listener is not None:
                await self._listener.hear_down(f"{KEYS_REFUSED} ({refusal})")
            raise VenueUnavailable(f"Alpaca refuses to tell the account: {refusal}") from None
        except Unanswered as failure:
            raise self._unavailable(failure) from None

    async def close(self) -> None:
        """Stop listening; orders stay."""
        if self._listener is not None:
            await self._listener.close()
        self._rest.close()

    def _unavailable(self, failure: Unanswered) -> VenueUnavailable:
        return VenueUnavailable(
            f"Alpaca can't be reached: {failure}", where=self._access.rest_address,
            remedy="look at this machine's network, and at Alpaca's status page",
        )  # fmt: skip

    async def _cancel(self, order_id: str) -> bool:
        """Whether Alpaca takes the cancel of a link; False where it says that it has ended."""
        try:
            await self._rest.ask("DELETE", f"/orders/{order_id}", can_repeat=False)
        except Refused as refusal:
            if refusal.status not in (404, 422):
                raise
            return False
        return True

    async def _replace(self, command: OrderReplacePending, order: OrderSubmitted) -> None:
        chain = await self._find(order)
        if chain is None:
            await self._tell(order, ReportKind.REPLACE_REJECTED, RejectCode.UNKNOWN_ORDER,
                             "Alpaca has no such order")  # fmt: skip
            return
        fields: dict[str, str] = {}
        standing = chain.current
        wanted = (command.lots or chain.total(standing)) - chain.filled_before(standing.id)
        filled = to_lots(standing.filled_qty, chain.instrument)
        if wanted - filled <= 0:
            await self._tell(order, ReportKind.REPLACE_REJECTED, RejectCode.QUANTITY_BELOW_FILLED,
                             f"{chain.filled} lots are filled")  # fmt: skip
            return
        if filled or wanted != to_lots(standing.qty, chain.instrument):
            quantity = chain.instrument.lots_to_quantity(wanted - filled)
            if quantity % 1:
                reason = f"Alpaca changes whole shares only, not to {quantity:f}"
                await self._tell(order, ReportKind.REPLACE_REJECTED, reason=reason)
                return
            fields["qty"] = f"{quantity:f}"
        if command.limit_ticks:
            fields["limit_price"] = f"{chain.instrument.ticks_to_price(command.limit_ticks):f}"
        if command.stop_ticks:
            fields["stop_price"] = f"{chain.instrument.ticks_to_price(command.stop_ticks):f}"
        for number in range(chain.number + 1, chain.number + 1 + _LINKS_TRIED):
            fields["client_order_id"] = to_link_id(chain.client_order_id, number)
            try:
                answer = await self._rest.ask(
                    "PATCH", f"/orders/{standing.id}", fields, can_repeat=False
                )
            except Refused as refusal:
                if not _is_duplicate(refusal):
                    raise
            else:
                await self._chains.note(decode(answer, WireOrder), chain.instrument)
                return
        await self._tell(order, ReportKind.REPLACE_REJECTED, reason="no name for it is free")

    async def _find(self, order: OrderSubmitted) -> Chain | None:
        """The chain with its current link as it is now; None: Alpaca has no such order."""
        instrument = self._by_id[order.instrument]
        chain = self._chains.find(order.client_order_id)
        asked = (
            await self._get_order(chain.current.id)
            if chain is not None
            else await self._get_by_name(order.client_order_id)
        )
        while asked is not None:
            chain = await self._chains.note(asked, instrument)
            if not asked.replaced_by:
                return chain
            asked = await self._get_order(asked.replaced_by)
        return chain

    async def _find_settled(self, order: OrderSubmitted) -> Chain | None:
        """The same; "no such order" is believed when nothing sent can still be on its way."""
        chain = await self._find(order)
        sent_at = self._sent_at_s.get(order.client_order_id)
        if chain is not None or sent_at is None:
            return chain
        left = sent_at + self._access.settle_s - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)
        return await self._find(order)

    async def _get_order(self, order_id: str) -> WireOrder | None:
        return await self._get_or_none(f"/orders/{order_id}", {})

    async def _get_by_name(self, client_order_id: str) -> WireOrder | None:
        order_id = find_manual(client_order_id)
        if order_id:
            return await self._get_order(order_id)
        fields = {"client_order_id": client_order_id}
        return await self._get_or_none("/orders:by_client_order_id", fields)

    async def _get_or_none(self, path: str, fields: dict[str, Any]) -> WireOrder | None:
        try:
            return await self._rest.get(path, WireOrder, fields)
        except Refused as refusal:
            if refusal.status == 404:
                return None
            raise

    async def _tell_taken(self, order: WireOrder, instrument: Instrument) -> None:
        """An answer to a submit: Alpaca has the order."""
        chain = await self._chains.note(order, instrument)
        if chain.is_accepted or order.status == "rejected":
            return  # what becomes of it comes by the stream
        chain.is_accepted = True
        await self._hear(report(ReportKind.ACCEPTED, order, chain))

    async def _tell_duplicate(self, order: OrderSubmitted, instrument: Instrument) -> None:
        """It is there already: an earlier sending had arrived. What became of it is told."""
        chain = await self._find(order)
        if chain is None:
            raise Unanswered("Alpaca has the order and does not show it")
        chain.is_accepted = True
        current = chain.current
        await self._hear(report(ReportKind.ACCEPTED, current, chain))
        for link in list(chain.links.values()):
            missing = report_missing_fill(link, chain, [])
            if missing is not None:
                await self._hear(missing)
        end = report_end(current, chain)
        if end is not None:
            await self._hear(end)

    async def _tell_refusal(
        self, order: OrderSubmitted, kind: ReportKind, refusal: Refused
    ) -> None:
        code = to_reject_code(refusal.status, refusal.code, refusal.message)
        await self._tell(order, kind, code, f"Alpaca: {refusal}")
        if refusal.is_of_keys and self._listener is not None:
            await self._listener.drop(f"{KEYS_REFUSED} ({refusal})")

    async def _tell(
        self,
        order: OrderSubmitted,
        kind: ReportKind,
        code: RejectCode = RejectCode.UNSUPPORTED,
        reason: str = "",
    ) -> None:
        chain = self._chains.find(order.client_order_id)
        await self._hear(
            VenueReport(
                kind=kind, client_order_id=order.client_order_id, instrument=order.instrument,
                side=order.side, code=code, reason=reason,
                venue_order_id=chain.current.id if chain else "",
                filled_lots=chain.filled if chain else -1,
            )
        )  # fmt: skip

    async def _hear(self, heard: VenueReport | ConnectionChanged) -> None:
        if self._listener is not None:
            await self._listener.hear(heard)

    def _lock(self, client_order_id: str) -> asyncio.Lock:
        """Commands of one order go one after the other."""
        return self._locks.setdefault(client_order_id, asyncio.Lock())

    def _remember_sending(self, client_order_id: str) -> None:
        now = asyncio.get_running_loop().time()
        self._sent_at_s.pop(client_order_id, None)
        self._sent_at_s[client_order_id] = now
        oldest = next(iter(self._sent_at_s))
        while now - self._sent_at_s[oldest] > _SENDING_LIMIT_S:
            del self._sent_at_s[oldest]
            lock = self._locks.get(oldest)
            if lock is not None and not lock.locked():
                del self._locks[oldest]
            oldest = next(iter(self._sent_at_s))

    async def _check_clock(self) -> None:
        limit = self._access.skew_s_max
        if limit is None:
            return
        before = self._clock()
        said = from_iso((await self._rest.get("/clock", WireClock)).timestamp)
        middle = (before + self._clock()) // 2
        skew = (said - middle) / NS_PER_SECOND
        if abs(skew) > limit:
            raise VenueUnavailable(
                f"Alpaca's clock is {skew:+,.1f} s from ours, more than {limit:g} s",
                remedy="set this machine's clock",
            )

    async def _list_symbols(self) -> list[str]:
        """Names of what Alpaca has; none where it does not tell."""
        try:
            answer = await self._rest.get("/assets", list[WireAsset], {"status": "active"})
        except (Refused, Unanswered):
            return []
        return [each.symbol for each in answer]

    def _explain(self, refusal: Refused) -> ConfigError | VenueUnavailable:
        if refusal.is_of_keys:
            place = "paper" if self._access.is_paper else "live"
            return ConfigError(
                f"{KEYS_REFUSED} (said {refusal})", where=f"the {place} account",
                remedy="look at key and secret: paper and live have different ones",
            )  # fmt: skip
        return VenueUnavailable(f"Alpaca refuses: {refusal}")


def _is_duplicate(refusal: Refused) -> bool:
    return refusal.status == 422 and "client_order_id must be unique" in refusal.message.lower()
