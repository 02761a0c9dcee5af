"""What other limits would have said to each order of a session, asked beside its own."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from onetape.domain.events import OrderDenied, OrderShrunk
from onetape.domain.instrument import InstrumentId
from onetape.domain.orders import DenialCode, Side
from onetape.risk.approval import RiskApproved
from onetape.risk.input import RiskInput
from onetape.risk.shrinking import Shrinking
from onetape.runtime.risk_controls import RiskControls, name_pause
from onetape.runtime.runner import Runner


class RiskOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What limits said to an order: passed, shrunk or denied.

    `lots` is what leaves (0: denied). The rest is empty for what passed; else the gate that
    refused, or the last one that shrank, and its numbers.
    """

    verdict: str
    lots: int
    gate: str = ""
    actual: float = 0.0
    limit: float = 0.0
    unit: str = ""


class AuditedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One order that came to the gates: what the session's limits said, and what others say.

    `ts` is engine time, ns UTC; `is_replace` tells that it is a change of an order.
    """

    ts: int
    strategy: str
    intent: int
    client_order_id: str
    instrument: InstrumentId
    side: Side
    lots: int
    is_replace: bool
    run: RiskOutcome
    other: RiskOutcome

    @property
    def differs(self) -> bool:
        """Whether the other limits say something else, be it another gate."""
        return self.run != self.other


class RiskAudit:
    """Asks other limits about each order, with the books and orders of the session as it is.

    Args:
        controls: The other limits, with gates of their own for each strategy.

    Attributes:
        orders: What was found, in order.
    """

    __slots__ = ("controls", "orders")

    def __init__(self, controls: RiskControls) -> None:
        self.controls = controls
        self.orders: list[AuditedOrder] = []

    def ask(
        self,
        runner: Runner,
        order: RiskInput,
        shrinking: Shrinking | None,
        cut: Sequence[OrderShrunk],
        *,
        is_paused: bool,
    ) -> RiskOutcome:
        """What the other limits say to `order`, which stays as it is.

        Args:
            runner: Whose order it is.
            order: As it came to the gates.
            shrinking: What may shrink it under the other limits; None: nothing.
            cut: What the session cut from a reduce-only order before; without `shrinking` it would
                have been refused.
            is_paused: A breaker of the session pauses the strategy; the kill switch is not set.
        """
        if cut and shrinking is None:
            (step,) = cut
            return RiskOutcome(
                verdict="denied", lots=0, gate=step.code.value, actual=step.actual,
                limit=step.limit, unit=step.unit,
            )  # fmt: skip
        asked = msgspec.structs.replace(order)
        verdict = self.controls.judge(runner, asked, shrinking)
        if is_paused:
            verdict = name_pause(verdict, DenialCode.BREAKER)
        return describe(verdict, shrinking.steps if shrinking is not None else ())

    def take(self, asked: RiskInput, lots: int, other: RiskOutcome, run: RiskOutcome,
             *, is_replace: bool) -> None:  # fmt: skip
        """Remember what both said to an order of `lots`."""
        intent = asked.intent
        self.orders.append(
            AuditedOrder(
                ts=asked.ts, strategy=intent.strategy, intent=intent.intent,
                client_order_id=asked.client_order_id, instrument=intent.instrument,
                side=Side(asked.side_sign), lots=lots, is_replace=is_replace, run=run, other=other,
            )
        )  # fmt: skip


def describe(verdict: RiskApproved | OrderDenied, steps: Sequence[OrderShrunk]) -> RiskOutcome:
    """A verdict, and what led to it, as an outcome."""
    if isinstance(verdict, OrderDenied):
        return RiskOutcome(
            verdict="denied", lots=0, gate=verdict.code.value, actual=verdict.actual,
            limit=verdict.limit, unit=verdict.unit,
        )  # fmt: skip
    if not steps:
        return RiskOutcome(verdict="passed", lots=verdict.lots)
    last = steps[-1]
    return RiskOutcome(
        verdict="shrunk", lots=verdict.lots, gate=last.code.value, actual=last.actual,
        limit=last.limit, unit=last.unit,
    )  # fmt: skip
