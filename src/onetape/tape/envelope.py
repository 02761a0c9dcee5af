"""From records to the events that readers see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from onetape.domain import events, market, orders, venue
from onetape.domain.events import Event, Payload
from onetape.tape.block import Record

SOURCES: dict[type, str] = {
    events.SessionStarted: "session",
    events.SessionStopped: "session",
    events.CapitalDeposited: "session",
    events.StrategyQuarantined: "session",
    events.OrderApproved: "risk",
    events.OrderDenied: "risk",
    events.OrderShrunk: "risk",
    events.BreakerTripped: "risk",
    events.BreakerRearmed: "risk",
    events.OrderSubmitted: "oms",
    events.OrderCancelPending: "oms",
    events.OrderReplacePending: "oms",
    events.OrderUnknown: "oms",
    events.OrderAdopted: "reconciliation",
    events.OrderEmulated: "emulator",
    events.OrderReleased: "emulator",
    events.OrderAccepted: "venue",
    events.OrderRejected: "venue",
    events.OrderCancelRejected: "venue",
    events.OrderReplaceRejected: "venue",
    events.OrderFilled: "venue",
    events.OrderPartiallyFilled: "venue",
    events.StrayFilled: "venue",
    events.OrderTriggered: "venue",
    events.OrderCanceled: "venue",
    events.OrderReplaced: "venue",
    events.OrderReduced: "venue",
    events.OrderExpired: "venue",
    events.PositionChanged: "portfolio",
    events.PositionOpened: "portfolio",
    events.PositionClosed: "portfolio",
    events.PositionAdjusted: "portfolio",
    events.CashPosted: "portfolio",
    events.PositionSettled: "portfolio",
    events.ContractAdjusted: "portfolio",
    events.MarginStatusChanged: "portfolio",
    events.CashSettling: "portfolio",
    events.TimerFired: "clock",
    events.FeatureDrifted: "features",
    events.KillSwitchSet: "operator",
    events.TransferOrdered: "operator",
    events.TransferRefused: "portfolio",
    market.QuoteTick: "feed",
    market.TradeTick: "feed",
    market.BookDelta: "feed",
    market.FundingRate: "feed",
    market.MarkPrice: "feed",
    market.SessionSettlement: "feed",
    market.ContractExpiry: "feed",
    market.TradingStatus: "feed",
    market.CorporateAction: "feed",
    venue.BarClosed: "feed",
    venue.TickHeard: "feed",
    venue.ConnectionChanged: "shell",
    venue.VenueReport: "venue",
    venue.VenueSnapshot: "venue",
    venue.Discrepancy: "reconciliation",
    venue.OperatorCommand: "operator",
    venue.SessionResumed: "session",
}
"""Which component emits a payload. What is not here comes from a strategy, `strategy:<name>`."""

TYPES: dict[type, str] = {kind: kind.__struct_config__.tag for kind in get_args(Payload)}
"""Event type (the struct's tag) of each payload."""


def source_of(payload: Payload) -> str:
    """Which component emitted `payload`."""
    if isinstance(payload, orders.Intent | events.SignalRecorded):
        return f"strategy:{payload.strategy}"
    return SOURCES[type(payload)]


def expand(record: Record) -> Iterator[Event]:
    """The events of `record`, in order; `ts_event` and `ts_ingest` are the time of the step."""
    ts = record.ts
    for seq, (payload, correlation_id, causation_id) in enumerate(record.events, record.first_seq):
        yield Event(
            seq=seq,
            ts_event=ts,
            ts_ingest=ts,
            type=TYPES[type(payload)],
            source=source_of(payload),
            payload=payload,
            correlation_id=correlation_id,
            causation_id=causation_id,
        )
