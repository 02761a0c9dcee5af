"""A venue that keeps exact books of its own, and tells of them in a way that is not reliable."""

from __future__ import annotations

from dataclasses import dataclass, field

from onetape.domain.instrument import make_spot
from onetape.domain.orders import OrderType, RejectCode, Side
from onetape.domain.venue import (
    ReportKind,
    VenueBalance,
    VenueOrder,
    VenuePosition,
    VenueReport,
    VenueSnapshot,
)

BTC = make_spot("BTCUSDT.BINANCE", base="BTC", quote="USDT", tick_size="0.01", lot_size="0.00001")
FACTOR = BTC.minor_per_tick_lot
LOT_UNITS = 1_000
STEP_NS = 15_000_000_000
"""Time between two things that happen: five of them are more than the overlap of looks."""

K = ReportKind


@dataclass
class ModelOrder:
    """An order at the venue."""

    identity: str
    side: Side
    lots: int
    limit: int
    filled: int = 0
    is_open: bool = True
    end: VenueReport | None = None


@dataclass
class ModelVenue:
    """One account: what it holds (1e-8 units), its cash (minor units), its orders."""

    cash: int
    units: int = 0
    clock: int = 1_700_000_000_000_000_000
    orders: dict[str, ModelOrder] = field(default_factory=dict[str, ModelOrder])
    fills: list[VenueReport] = field(default_factory=list[VenueReport])
    said: list[VenueReport] = field(default_factory=list[VenueReport])

    def say(self, kind: ReportKind, order: ModelOrder, **fields: object) -> VenueReport:
        """Something happens to an order, and is told."""
        self.clock += STEP_NS
        report = VenueReport(
            kind=kind, client_order_id=order.identity, venue_order_id=f"v{order.identity}",
            instrument=BTC.id, side=order.side, ts_venue=self.clock, **fields,  # type: ignore[arg-type]
        )  # fmt: skip
        self.said.append(report)
        return report

    def take(self, identity: str, side: Side, lots: int, limit: int) -> None:
        """A new order arrives."""
        order = self.orders[identity] = ModelOrder(identity, side, lots, limit)
        self.say(K.ACCEPTED, order)

    def refuse(self, identity: str, side: Side) -> None:
        """A new order arrives that the venue does not want."""
        order = self.orders[identity] = ModelOrder(identity, side, 1, 1, is_open=False)
        order.end = self.say(K.REJECTED, order, code=RejectCode.INSUFFICIENT_FUNDS)

    def fill(self, order: ModelOrder, lots: int, ticks: int, fee: int, tells: bool) -> None:
        """An execution; a buy pays `fee` in base (1e-8 units), a sale in quote (minor units)."""
        order.filled += lots
        order.is_open = order.filled < order.lots
        is_buy = order.side is Side.BUY
        self.units += order.side * lots * LOT_UNITS - fee * is_buy
        self.cash -= order.side * lots * ticks * FACTOR + fee * (not is_buy)
        report = self.say(
            K.FILLED, order, execution_id=f"x{len(self.fills)}", lots=lots, ticks=ticks,
            filled_lots=order.filled if tells else -1, fee=0 if is_buy else fee,
            fee_units=fee if is_buy else 0,
        )  # fmt: skip
        self.fills.append(report)

    def end(self, order: ModelOrder, kind: ReportKind) -> None:
        """Off the book."""
        order.is_open = False
        order.end = self.say(kind, order, filled_lots=order.filled)

    def cancel(self, identity: str) -> None:
        """A cancel arrives."""
        order = self.orders[identity]
        if order.is_open:
            self.end(order, K.CANCELED)
        else:
            self.say(K.CANCEL_REJECTED, order, code=RejectCode.ORDER_CLOSED)

    def replace(self, identity: str, lots: int, limit: int) -> None:
        """A replace arrives."""
        order = self.orders[identity]
        if not order.is_open:
            self.say(K.REPLACE_REJECTED, order, code=RejectCode.ORDER_CLOSED)
        elif lots <= order.filled:
            self.say(K.REPLACE_REJECTED, order, code=RejectCode.QUANTITY_BELOW_FILLED)
        else:
            order.lots, order.limit = lots, limit
            self.say(K.REPLACED, order, lots=lots, limit_ticks=limit)

    def trade_by_hand(self, side: Side, lots: int, ticks: int) -> None:
        """Somebody else trades in the account."""
        self.fill(ModelOrder("", side, lots, ticks), lots, ticks, 7, tells=True)

    def show(self, asked: list[str], since: int) -> VenueSnapshot:
        """Everything, as it is now."""
        reports = [each for each in self.fills if each.ts_venue >= since]
        for name in asked:
            order = self.orders.get(name)
            if order is None:
                lost = VenueReport(kind=K.NOT_FOUND, client_order_id=name, instrument=BTC.id)
                reports.append(lost)
            elif order.end is not None:
                reports.append(order.end)
        return VenueSnapshot(
            name="model", reason="look", ts_venue=self.clock,
            orders=[
                VenueOrder(
                    client_order_id=each.identity, venue_order_id=f"v{each.identity}",
                    instrument=BTC.id, side=each.side, order_type=OrderType.LIMIT, lots=each.lots,
                    filled_lots=each.filled, limit_ticks=each.limit,
                )
                for each in self.orders.values() if each.is_open
            ],
            reports=reports, positions=self.positions(), balances=self.balances(),
        )  # fmt: skip

    def positions(self) -> list[VenuePosition]:
        """What it holds: whole lots, and the rest."""
        lots = abs(self.units) // LOT_UNITS * (1 if self.units > 0 else -1)
        rest = self.units - lots * LOT_UNITS
        return [VenuePosition(instrument=BTC.id, lots=lots, rest_units=rest)]

    def balances(self) -> list[VenueBalance]:
        """Its cash."""
        return [VenueBalance(currency="USDT", amount=self.cash)]
