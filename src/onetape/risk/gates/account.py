"""Gates over the sum of the strategies: the comparisons of a strategy's gates, on other sums.

An order comes to them with the equity, the peak and the exposures of the account; see
`onetape.risk.account`. Whether it is reducing is still told by its strategy's own position, so a
strategy can always close what it holds, whatever the others do.
"""

from __future__ import annotations

from onetape.domain.orders import DenialCode
from onetape.risk.gates.daily_loss import DailyLossGate
from onetape.risk.gates.drawdown import DrawdownGate
from onetape.risk.gates.gross_exposure import GrossExposureGate
from onetape.risk.gates.leverage import LeverageGate
from onetape.risk.gates.net_exposure import NetExposureGate
from onetape.risk.gates.order_rate import OrderRateGate


class AccountGrossExposureGate(GrossExposureGate):
    """Refuses an order after which the gross notionals of all strategies could be too large."""

    __slots__ = ()

    code = DenialCode.ACCOUNT_GROSS_EXPOSURE


class AccountNetExposureGate(NetExposureGate):
    """Refuses an order after which the net of all strategies could be too large."""

    __slots__ = ()

    code = DenialCode.ACCOUNT_NET_EXPOSURE


class AccountLeverageGate(LeverageGate):
    """Refuses an order after which all strategies could hold too much for their equity."""

    __slots__ = ()

    code = DenialCode.ACCOUNT_LEVERAGE


class AccountDailyLossGate(DailyLossGate):
    """Refuses what is not reducing once the account has lost more than that since the day began."""

    __slots__ = ()

    code = DenialCode.ACCOUNT_DAILY_LOSS


class AccountDrawdownGate(DrawdownGate):
    """Refuses what is not reducing once the account has fallen more than that from its peak."""

    __slots__ = ()

    code = DenialCode.ACCOUNT_DRAWDOWN


class AccountOrderRateGate(OrderRateGate):
    """Refuses an order when all strategies together have had too many approved before it."""

    __slots__ = ()

    code = DenialCode.ACCOUNT_ORDER_RATE
