"""Conversions of held cash that strategies ask for: what risk says, and what is booked."""

from __future__ import annotations

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import InstrumentId
from onetape.domain.numbers import E8, minor_to_float
from onetape.domain.orders import ConvertIntent, DenialCode
from onetape.domain.postings import PostingKind
from onetape.portfolio.ledger import NO_INSTRUMENT
from onetape.risk.conversion import (
    check_borrowing,
    check_reducing_conversion,
    compute_borrowing_limit,
)
from onetape.runtime.currency_exchange import Conversion, CurrencyExchange
from onetape.runtime.currency_valuation import CurrencyValuation
from onetape.runtime.margin_desk import MarginDesk
from onetape.runtime.order_check import OrderCheck
from onetape.runtime.order_claims import OrderClaims
from onetape.runtime.runner import Runner
from onetape.runtime.step_log import StepLog

_UNITS = "1e-8 of the currency"


class ConversionDesk:
    """Carries out `ConvertIntent`s at once, or refuses them.

    Refused are: a currency that the books don't have (`no_currency`), one without a rate yet
    (`no_rate`), an amount too small for a unit of the other one (`zero_quantity`), while only
    reducing is allowed what does not bring foreign balances nearer to zero, and borrowing beyond
    what leverage allows (`buying_power`): nothing on a cash account, but repaying always passes. On
    margin what is owed in a currency, less what is held in it, has to be backed instead.

    Args:
        log: Where the events go.
        claims: Tell what cash is free.
        check: Knows what is paused, and the margin.
        max_leverage_e8: Multiple of equity that may be in the market, 1e-8.
    """

    __slots__ = ("_check", "_claims", "_log", "_max_leverage_e8")

    def __init__(
        self, log: StepLog, claims: OrderClaims, check: OrderCheck, max_leverage_e8: int | None
    ) -> None:
        self._log = log
        self._claims = claims
        self._check = check
        self._max_leverage_e8 = E8 if max_leverage_e8 is None else max_leverage_e8

    def convert(self, runner: Runner, intent: ConvertIntent) -> OrderDenied | None:
        """Convert now; returns the refusal, if it is one."""
        log = self._log
        seq = log.emit(intent, log.origin, log.cause)
        exchange = runner.exchange
        refused: OrderDenied | None = self._refuse_currency(runner, intent)
        if refused is None and exchange is not None:
            conversion = exchange.quote(intent.source, intent.target, intent.amount)
            refused = self._refuse_amount(runner, exchange, intent, conversion)
            if refused is None:
                self._book(runner, exchange, intent, conversion, seq)
                return None
        if refused is not None:
            log.emit(refused, log.origin, seq)
        return refused

    def _refuse_currency(self, runner: Runner, intent: ConvertIntent) -> OrderDenied | None:
        exchange = runner.exchange
        for name in (intent.source, intent.target):
            if exchange is None or not exchange.holds or name not in exchange.currencies:
                return _deny(intent, DenialCode.NO_CURRENCY, 0, 1, f"held cash in {name}")
            if not exchange.has_rate(name):
                pair = exchange.pair_of(name)
                return _deny(intent, DenialCode.NO_RATE, 0, 1, f"bars of {pair}")
        return None

    def _refuse_amount(
        self, runner: Runner, exchange: CurrencyExchange, intent: ConvertIntent, made: Conversion
    ) -> OrderDenied | None:
        if made.received <= 0:
            return _deny(intent, DenialCode.ZERO_QUANTITY, made.received, 1, _UNITS)
        before = {name: self._claims.free_cash(runner, name) for name in exchange.currencies}
        after = dict(before)
        after[intent.source] -= intent.amount
        after[intent.target] += made.received
        after[exchange.home] -= made.cost
        paused = self._check.pause_code(runner.name)
        if paused is not None:
            foreign = [_sum_foreign(exchange, each) for each in (before, after)]
            if not check_reducing_conversion(*foreign):
                actual, limit = (minor_to_float(each) for each in reversed(foreign))
                return _deny(intent, paused, actual, limit, f"{exchange.home} in other currencies")
        runner.valuation.refresh()
        if self._check.margin is not None:
            return self._refuse_owing(runner, exchange, intent, made, self._check.margin)
        limit = compute_borrowing_limit(runner.valuation.equity - made.cost, self._max_leverage_e8)
        borrowed = [exchange.sum_owed(each) for each in (before, after)]
        if check_borrowing(borrowed[0], borrowed[1], limit):
            return None
        if not limit:  # a cash account is told in the currency that it lacks
            name = min(after, key=lambda each: exchange.to_home(each, after[each]))
            needed = before[name] - after[name]
            return _deny(
                intent, DenialCode.BUYING_POWER, minor_to_float(needed),
                minor_to_float(before[name]), f"{name} cash",
            )  # fmt: skip
        return _deny(
            intent, DenialCode.BUYING_POWER, minor_to_float(borrowed[1]), minor_to_float(limit),
            f"{exchange.home} borrowed",
        )  # fmt: skip

    def _refuse_owing(
        self,
        runner: Runner,
        exchange: CurrencyExchange,
        intent: ConvertIntent,
        made: Conversion,
        margin: MarginDesk,
    ) -> OrderDenied | None:
        """On margin: what is owed then in currencies must be backed as well, if it is more."""
        valuation = runner.valuation
        before = valuation.worths if isinstance(valuation, CurrencyValuation) else {}
        after = dict(before)
        after[intent.source] -= intent.amount
        after[intent.target] += made.received
        after[exchange.home] -= made.cost
        owed = [exchange.sum_owed(each) for each in (before, after)]
        needed, power = margin.compute_needs(runner, self._claims.orders)
        needed += margin.compute_owed_margin(owed[1]) - margin.compute_owed_margin(owed[0])
        if check_borrowing(owed[0], owed[1], owed[1] if needed <= power - made.cost else 0):
            return None
        return _deny(
            intent, DenialCode.BUYING_POWER, minor_to_float(needed),
            minor_to_float(power - made.cost), exchange.home,
        )  # fmt: skip

    def _book(
        self,
        runner: Runner,
        exchange: CurrencyExchange,
        intent: ConvertIntent,
        made: Conversion,
        cause: int,
    ) -> None:
        """One posting in each currency, and one for what it costs."""
        source, target = intent.source, intent.target
        pairs = {
            name: exchange.pair_of(name) if name != exchange.home else NO_INSTRUMENT
            for name in (source, target)
        }
        for kind, amount, currency, pair, reason in (
            (PostingKind.FX_CONVERSION, -intent.amount, source, pairs[source] or pairs[target],
             made.reason),
            (PostingKind.FX_CONVERSION, made.received, target, pairs[target] or pairs[source],
             made.reason),
            (PostingKind.FEE, -made.cost, exchange.home, pairs[target] or pairs[source],
             made.cost_reason),
        ):  # fmt: skip
            if amount:
                posted = runner.post(kind, amount, pair, reason, currency)
                self._log.emit(posted, self._log.origin, cause)


def _sum_foreign(exchange: CurrencyExchange, cash: dict[str, int]) -> int:
    return sum(
        -exchange.to_home(name, -abs(amount))
        for name, amount in cash.items()
        if name != exchange.home
    )


def _deny(
    intent: ConvertIntent, code: DenialCode, actual: float, limit: float, unit: str
) -> OrderDenied:
    return OrderDenied(intent.strategy, intent.intent, InstrumentId(""), code, actual, limit, unit)
