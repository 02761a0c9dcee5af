"""Builder of risk inputs: a market buy of 100 AAPL at 100.00 on 100,000 of cash."""

from __future__ import annotations

from typing import Any

from onetape.domain.instrument import make_equity
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderIntent, OrderType, QuantityBasis, Side, TimeInForce
from onetape.risk.input import RiskInput

AAPL = make_equity("AAPL.XNAS")


def make_risk_input(**changes: Any) -> RiskInput:
    """The standing order with `changes`; lots and lot_notional carry over to notional."""
    fields: dict[str, Any] = {
        "intent": OrderIntent(
            strategy="s",
            intent=1,
            instrument=AAPL.id,
            side=Side.BUY,
            basis=QuantityBasis.LOTS,
            amount=100,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.GTC,
        ),
        "instrument": AAPL,
        "client_order_id": "s-1",
        "ts": 0,
        "side_sign": 1,
        "lots": 100,
        "lot_notional": 100 * E8,
        "equity": 100_000 * E8,
        "cash": 100_000 * E8,
        "session_start_equity": 100_000 * E8,
        "peak_equity": 100_000 * E8,
        **changes,
    }
    fields.setdefault("notional", fields["lots"] * fields["lot_notional"])
    return RiskInput(**fields)
