"""Gate: cash of the instrument's own currency, where foreign cash is held."""

from __future__ import annotations

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument
from onetape.domain.numbers import minor_to_float
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import make_denial
from onetape.risk.input import RiskInput


@rule
def check_currency_power(order: RiskInput, reserve: int) -> bool:
    """Whether a buy leaves `reserve` of its own currency, as `CurrencyPowerGate` says. Ours."""
    return (
        order.side_sign < 0
        or order.end_lots <= 0
        or order.currency_needed <= order.currency_free - reserve
    )


class CurrencyPowerGate:
    """Refuses a buy that a cash account can't pay in the currency of the instrument.

    Only where foreign cash is held: what it costs, its fee included, stays within the cash of that
    currency that no open buy has bound. Sells and reducing orders pass.
    """

    __slots__ = ()

    code = DenialCode.BUYING_POWER
    check = staticmethod(check_currency_power)

    def limit_for(self, instrument: Instrument) -> int:
        """Nothing has to be left, of whatever instrument."""
        return 0

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """What the order needs against what there is, in the currency of the instrument."""
        return make_denial(
            order, self.code, minor_to_float(order.currency_needed),
            minor_to_float(order.currency_free - limit),
            f"{order.instrument.settlement_currency} cash",
        )  # fmt: skip
