"""Orders of ours and what a venue says of them, applied as a session does it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onetape.domain.events import (
    OrderAdopted,
    OrderFilled,
    OrderReport,
    SettlementKind,
    StrayFilled,
)
from onetape.domain.instrument import Instrument
from onetape.domain.numbers import E8
from onetape.domain.orders import (
    OrderIntent,
    OrderStatus,
    OrderType,
    QuantityBasis,
    Side,
    TimeInForce,
)
from onetape.domain.venue import (
    Discrepancy,
    ReportKind,
    VenueBalance,
    VenueOrder,
    VenuePosition,
    VenueReport,
    VenueSnapshot,
)
from onetape.execution.oms import Oms, Order
from onetape.execution.reconciliation import ReconciliationPolicy, catch_up, compare
from onetape.execution.venue_reports import BaseFee, Outcome, VenueReports
from onetape.portfolio.ledger import Ledger
from onetape.risk.approval import RiskApproved, RiskEngine
from tests.support.risk_input import make_risk_input

NOW = 1_000_000
CAPITAL = 1_000_000 * E8


class VenueDesk:
    """One strategy `s`, one instrument, one account.

    `log` is what was applied, `strays` the orders that were to be canceled, `adopted` those that
    were given by hand; `hindrance` is why none is adopted.
    """

    def __init__(self, instrument: Instrument, policy: ReconciliationPolicy | None = None) -> None:
        self.instrument = instrument
        self.policy = policy or ReconciliationPolicy()
        self.oms = Oms()
        self.ledger = Ledger("s", instrument.quote_currency, [instrument])
        self.ledger.deposit(CAPITAL)
        self.reports = VenueReports([instrument])
        self.log: list[Outcome] = []
        self.strays: list[str] = []
        self.adopted: list[OrderAdopted] = []
        self.hindrance = ""

    def submit(
        self, number: int = 1, lots: int = 100, *, side: Side = Side.BUY, stop_ticks: int = 0
    ) -> Order:
        """A limit order at 10,000 ticks, or a stop-limit; 1 minor unit is the most a lot costs."""
        kind = OrderType.STOP_LIMIT if stop_ticks else OrderType.LIMIT
        intent = OrderIntent(
            "s", number, self.instrument.id, side, QuantityBasis.LOTS, lots, kind,
            TimeInForce.GTC, limit_ticks=10_000, stop_ticks=stop_ticks,
        )  # fmt: skip
        approved = RiskEngine(()).check(
            make_risk_input(
                intent=intent, instrument=self.instrument, lots=lots, side_sign=side.value,
                client_order_id=f"s-{number}",
            )
        )  # fmt: skip
        assert isinstance(approved, RiskApproved)
        return self.oms.submit(approved, 1, 0)[0]

    def report(self, kind: ReportKind, number: int = 1, **fields: Any) -> VenueReport:
        """What the venue says of order `number`."""
        given: dict[str, Any] = {
            "client_order_id": f"s-{number}",
            "venue_order_id": f"v-{number}",
            **fields,
        }
        return VenueReport(kind=kind, instrument=self.instrument.id, **given)

    def fill(self, execution: str, lots: int, filled: int = -1, **fields: Any) -> VenueReport:
        """An execution of order 1 at 10,000 ticks."""
        return self.report(
            ReportKind.FILLED, execution_id=execution, lots=lots, filled_lots=filled,
            ticks=fields.pop("ticks", 10_000), **fields,
        )  # fmt: skip

    def hear(self, report: VenueReport) -> list[Outcome]:
        """One report, applied."""
        order = self.oms.open.get(report.client_order_id)
        outcomes = self.reports.translate(report, order, NOW)
        self.apply(outcomes)
        return outcomes

    def move(self, order: Order, *events: OrderReport) -> None:
        """Events of our own."""
        for event in events:
            self.oms.move(order, event, 0)

    def apply(self, outcomes: Iterable[Outcome]) -> None:
        """OMS and books, as the order desk does it."""
        for each in outcomes:
            self.log.append(each)
            if isinstance(each, BaseFee):
                self.ledger.settle(
                    each.instrument, SettlementKind.BASE_FEE, each.traded, each.ticks,
                    each.notional, each.fee,
                )  # fmt: skip
                continue
            if not isinstance(each, StrayFilled):
                self.oms.move(self.oms.open[each.client_order_id], each, 0)
            if isinstance(each, OrderFilled):
                self.ledger.apply(each)

    def order_there(self, number: int = 1, **fields: Any) -> VenueOrder:
        """Order `number` as it is open at the venue."""
        given: dict[str, Any] = {
            "client_order_id": f"s-{number}", "venue_order_id": f"v-{number}",
            "instrument": self.instrument.id, "side": Side.BUY, "order_type": OrderType.LIMIT,
            "lots": 100, "filled_lots": 0, "limit_ticks": 10_000, **fields,
        }  # fmt: skip
        return VenueOrder(**given)

    def look(
        self,
        *orders: VenueOrder,
        reports: Iterable[VenueReport] = (),
        lots: int = 0,
        rest_units: int = 0,
        cash: int = CAPITAL,
        ts_venue: int = 0,
    ) -> list[Discrepancy]:
        """One look, applied; returns the differences that it tells."""
        snapshot = VenueSnapshot(
            name="venue", reason="test", ts_venue=ts_venue, orders=list(orders),
            reports=list(reports),
            positions=[
                VenuePosition(instrument=self.instrument.id, lots=lots, rest_units=rest_units)
            ],
            balances=[VenueBalance(currency=self.instrument.quote_currency, amount=cash)],
        )  # fmt: skip
        found: list[Discrepancy] = []
        for each in catch_up(
            snapshot, self.oms.open, self.reports, self.policy, NOW, lambda *_: self.hindrance
        ):
            if isinstance(each, Discrepancy):
                found.append(each)
            elif isinstance(each, VenueOrder):
                self.strays.append(each.client_order_id)
            elif isinstance(each, OrderAdopted):
                self.oms.adopt(each, 1, 0, 0)
                self.adopted.append(each)
            else:
                self.apply([each])
        held = {self.instrument.id: self.ledger.positions[self.instrument.id].lots}
        money = {self.ledger.currency: self.ledger.cash}
        return found + compare(snapshot, held, money, self.reports, self.policy, NOW)


def tell(outcomes: Iterable[Outcome]) -> str:
    """Outcomes in a few letters: `Accepted PartiallyFilled(40)`."""
    words: list[str] = []
    for each in outcomes:
        name = type(each).__name__.removeprefix("Order")
        if isinstance(each, OrderFilled):
            name += f"({each.lots})"
        words.append(name)
    return " ".join(words)


def status_of(desk: VenueDesk, number: int = 1) -> str:
    """The status of an order; `closed` when it is not open."""
    order = desk.oms.open.get(f"s-{number}")
    return OrderStatus(order.status).name if order is not None else "closed"
