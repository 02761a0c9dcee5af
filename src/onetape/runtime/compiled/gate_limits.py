"""The risk gates as compiled code asks them: which are on, and their limits as whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument
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
from onetape.runtime.compiled import engine

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
