"""The log of a compiled session as the events that the Python host's tape holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import ConfigError
from onetape.domain.events import (
    KillSwitchSet,
    OrderAccepted,
    OrderApproved,
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderPartiallyFilled,
    OrderReplaced,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderSubmitted,
    OrderTriggered,
    Payload,
    PositionChanged,
    PositionClosed,
    PositionOpened,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.numbers import E8
from onetape.domain.orders import (
    CancelIntent,
    DenialCode,
    LiquiditySide,
    OrderIntent,
    OrderType,
    QuantityBasis,
    RejectCode,
    ReplaceIntent,
    Side,
    TimeInForce,
)
from onetape.risk.gates.buying_power import BuyingPower, BuyingPowerGate
from onetape.risk.gates.concentration import ConcentrationGate
from onetape.risk.gates.daily_loss import DailyLossGate
from onetape.risk.gates.drawdown import DrawdownGate
from onetape.risk.gates.gate import Gate
from onetape.risk.gates.gross_exposure import GrossExposureGate
from onetape.risk.gates.instruments import InstrumentGate
from onetape.risk.gates.kill_switch import KillSwitchGate
from onetape.risk.gates.leverage import LeverageGate
from onetape.risk.gates.net_exposure import NetExposureGate
from onetape.risk.gates.order_notional import OrderNotionalGate
from onetape.risk.gates.order_quantity import OrderQuantityGate
from onetape.risk.gates.order_rate import OrderRate, OrderRateGate
from onetape.risk.gates.position_quantity import PositionQuantityGate
from onetape.risk.gates.position_ratio import PositionRatioGate
from onetape.risk.input import RiskInput
from onetape.runtime.compiled import engine
from onetape.runtime.compiled.state import LOG_WIDTH

GATES: tuple[type[Gate[Any]], ...] = (
    InstrumentGate, KillSwitchGate, OrderQuantityGate, OrderNotionalGate, PositionQuantityGate,
    PositionRatioGate, ConcentrationGate, GrossExposureGate, NetExposureGate, LeverageGate,
    BuyingPowerGate, DailyLossGate, DrawdownGate, OrderRateGate,
)  # fmt: skip
"""The gates that the compiled host asks, in its order."""


class GateLimits:
    """The limits of a session as compiled code reads them, and the gates that tell refusals.

    Attributes:
        is_on, limit: Whether a gate is asked, and its whole number; row-major (gate, instrument).
        power: Of the buying power gate.
        rate: Of the order rate gate; None without one.
        watches: Whether a gate asks for the peak or the start of the day.

    Raises:
        ConfigError: A gate that the compiled host does not know, or another order of gates.
    """

    def __init__(self, gates: Sequence[Gate[Any]], instruments: Sequence[Instrument]) -> None:
        places = [GATES.index(type(each)) if type(each) in GATES else -1 for each in gates]
        if -1 in places or places != sorted(set(places)):
            raise ConfigError("the compiled host does not carry these risk gates")
        self.gates = dict(zip(places, gates, strict=True))
        count = len(instruments)
        self.is_on = [0] * (len(GATES) * count)
        self.limit = [0] * (len(GATES) * count)
        self.power = BuyingPower(0, is_cash_account=True, allow_short=False)
        self.rate: OrderRate | None = None
        self.watches = engine.GATE_DAILY_LOSS in places or engine.GATE_DRAWDOWN in places
        for place, gate in self.gates.items():
            for at, instrument in enumerate(instruments):
                limit = gate.limit_for(instrument)
                if isinstance(limit, BuyingPower):
                    self.power = limit
                elif isinstance(limit, OrderRate):
                    self.rate = limit
                elif limit is not None:
                    self.is_on[place * count + at] = 1
                    self.limit[place * count + at] = limit


_GATE_FIELDS = (
    "ts", "side_sign", "lots", "lot_notional", "notional", "equity", "cash", "session_start_equity",
    "peak_equity", "fee", "position_lots", "open_buy_notional", "end_lots", "end_notional",
    "gross_notional", "net_notional",
)  # fmt: skip


class Tracer:
    """Reads logs of one session.

    Args:
        instruments: Those of the timeline, in its order.
        strategy: Its name.
        order_prefix: What its client order ids begin with.
        gates: The gates that refuse.
        controls: Operators' commands.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        strategy: str,
        order_prefix: str,
        gates: GateLimits,
        controls: Sequence[tuple[int, KillSwitchSet]],
    ) -> None:
        self.instrument_ids = [each.id for each in instruments]
        self._instruments = instruments
        self._strategy = strategy
        self._prefix = order_prefix
        self._gates = gates
        self._controls = controls
        self._readers: dict[int, Callable[[list[int]], Payload]] = {
            engine.LOG_INTENT: self._intent,
            engine.LOG_CANCEL_INTENT: lambda f: CancelIntent(strategy, f[0], self.order_id(f[1])),
            engine.LOG_REPLACE_INTENT: lambda f: ReplaceIntent(
                strategy, f[0], self.order_id(f[1]), *f[2:5]
            ),
            engine.LOG_APPROVED: lambda f: OrderApproved(
                strategy, f[0], self.order_id(f[1]), Side(f[2]), f[3]
            ),
            engine.LOG_GATE_DENIED: self._gate_denied,
            engine.LOG_DENIED: self._denied,
            engine.LOG_SUBMITTED: self._submitted,
            engine.LOG_ACCEPTED: lambda f: OrderAccepted(self.order_id(f[0]), f"sim-{f[1]}"),
            engine.LOG_FILL: self._fill,
            engine.LOG_POSITION: self._position,
            engine.LOG_TRIGGERED: lambda f: OrderTriggered(self.order_id(f[0]), f[1]),
            engine.LOG_CANCEL_PENDING: lambda f: OrderCancelPending(self.order_id(f[0])),
            engine.LOG_CANCELED: lambda f: OrderCanceled(
                self.order_id(f[0]), engine.CANCELED_REASONS[f[1]], f[2], f[3]
            ),
            engine.LOG_CANCEL_REJECTED: lambda f: OrderCancelRejected(
                self.order_id(f[0]), RejectCode.ORDER_CLOSED, "no such order on the book"
            ),
            engine.LOG_REPLACE_PENDING: lambda f: OrderReplacePending(self.order_id(f[0]), *f[1:4]),
            engine.LOG_REPLACED: lambda f: OrderReplaced(self.order_id(f[0]), *f[1:4]),
            engine.LOG_REPLACE_REJECTED: self._replace_rejected,
            engine.LOG_EXPIRED: lambda f: OrderExpired(self.order_id(f[0]), "time in force"),
            engine.LOG_KILL_SWITCH: lambda f: self._controls[f[0]][1],
        }

    def order_id(self, number: int) -> str:
        """The client order id of an order number; empty for 0."""
        return f"{self._prefix}{number}" if number else ""

    def read(self, log: npt.NDArray[np.int64], rows: int) -> Iterator[tuple[int, Payload]]:
        """The events of a log with their engine times."""
        for row in log[: rows * LOG_WIDTH].reshape(rows, LOG_WIDTH).tolist():
            yield row[0], self._readers[row[1]](row[2:])

    def _intent(self, f: list[int]) -> OrderIntent:
        return OrderIntent(
            self._strategy, f[0], self.instrument_ids[f[1]], Side(f[2]), QuantityBasis(f[3]), f[4],
            OrderType(f[5]), TimeInForce(f[6]), f[7], f[8], f[9], bool(f[10]),
        )  # fmt: skip

    def _gate_denied(self, f: list[int]) -> OrderDenied:
        gate = self._gates.gates[f[2]]
        instrument = self._instruments[f[1]]
        limit = gate.limit_for(instrument)
        intent = OrderIntent(
            self._strategy, f[0], instrument.id, Side.BUY, QuantityBasis.LOTS, 0, OrderType.MARKET,
            TimeInForce.GTC,
        )  # fmt: skip
        fields = dict(zip(_GATE_FIELDS, f[3:], strict=False))
        order = RiskInput(intent=intent, instrument=instrument, client_order_id="", **fields)
        return gate.deny(order, limit)

    def _denied(self, f: list[int]) -> OrderDenied:
        code = engine.DENIALS[f[1]]
        instrument = InstrumentId("") if f[2] < 0 else self.instrument_ids[f[2]]
        actual: float = f[3]
        limit: float = f[4]
        match code:
            case DenialCode.NO_MARK:
                unit = "bars"
            case DenialCode.MIN_NOTIONAL:
                terms = self._instruments[f[2]]
                actual = f[3] / E8
                limit = float(terms.min_notional)
                unit = terms.quote_currency
            case DenialCode.NOT_REPLACEABLE:
                unit = OrderType(f[3]).name
                actual = limit = 0
            case DenialCode.ALREADY_PENDING | DenialCode.ORDER_CLOSED | DenialCode.UNKNOWN_ORDER:
                unit = self.order_id(f[3])
                actual = limit = 0
            case _:
                unit = "lots"
        return OrderDenied(self._strategy, f[0], instrument, code, actual, limit, unit)

    def _submitted(self, f: list[int]) -> OrderSubmitted:
        return OrderSubmitted(
            self.order_id(f[0]), self._strategy, self.instrument_ids[f[1]], Side(f[2]),
            OrderType(f[3]), TimeInForce(f[4]), f[5], f[6], f[7], f[8], f[9], bool(f[10]),
            bool(f[11]),
        )  # fmt: skip

    def _fill(self, f: list[int]) -> OrderFilled:
        return (OrderPartiallyFilled if f[8] else OrderFilled)(
            self.order_id(f[0]), self._strategy, self.instrument_ids[f[1]], Side(f[2]), f[3], f[4],
            f[5], f[6], LiquiditySide(f[7]), f[8], f[9],
        )  # fmt: skip

    def _position(self, f: list[int]) -> PositionChanged:
        kind = PositionOpened if f[5] == 0 else PositionClosed if f[1] == 0 else PositionChanged
        return kind(self._strategy, self.instrument_ids[f[0]], f[1], f[2], f[3], f[4])

    def _replace_rejected(self, f: list[int]) -> OrderReplaceRejected:
        if f[1] == engine.REJECTED_CLOSED:
            code, reason = RejectCode.ORDER_CLOSED, "no such order on the book"
        else:
            code, reason = RejectCode.QUANTITY_BELOW_FILLED, f"{f[2]} lots are filled already"
        return OrderReplaceRejected(self.order_id(f[0]), code, reason)
