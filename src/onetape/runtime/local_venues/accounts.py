"""The books of one account at a local exchange: exact integers, changed by fills and actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from onetape.domain.corporate_actions import ActionTerms
from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.domain.numbers import E8
from onetape.domain.orders import Side
from onetape.execution.simulated.fee_rules import FeeSchedule, MonthVolume, flat_ratio_e8
from onetape.portfolio.corporate_actions import (
    compute_cash_in_lieu,
    compute_payment,
    compute_split_lots,
    compute_split_release,
)
from onetape.runtime.local_venues.messages import (
    Balance,
    Books,
    Execution,
    Holding,
    PlacedOrder,
)


class ExchangeRules(msgspec.Struct, frozen=True, kw_only=True):
    """What one venue does otherwise than another.

    Attributes:
        fee_in_base_of_buys: A buy of a pair pays its fee in what it buys.
        never_overdraws: A fill that the free balance can't pay is cut; otherwise cash may go below
            zero where the price has moved since the order was checked.
        can_short: Positions may go below zero.
        leverage: Buying power is so many times the equity.
        is_client_id_unique_for_ever: Otherwise among open orders only.
        replace_makes_new_order: With an id of its own; otherwise the order keeps its id.
    """

    fee_in_base_of_buys: bool = False
    never_overdraws: bool = False
    can_short: bool = False
    leverage: int = 1
    is_client_id_unique_for_ever: bool = False
    replace_makes_new_order: bool = False


def is_pair(instrument: Instrument) -> bool:
    """Whether holding it is a balance of its base currency, and no position."""
    return instrument.kind in (InstrumentKind.SPOT, InstrumentKind.FX)


def units_per_lot(instrument: Instrument) -> int:
    """1e-8 units of the base currency in a lot of a pair.

    Raises:
        ConfigError: The lot is finer than that.
    """
    exact = instrument.lot_size * E8
    if exact != exact.to_integral_value():
        raise ConfigError(
            f"the lot {instrument.lot_size:f} of {instrument.id} is finer than 1e-8",
            remedy="define the instrument with a coarser lot",
        )
    return int(exact)


def check_instrument(instrument: Instrument, schedule: FeeSchedule, rules: ExchangeRules) -> None:
    """A local exchange can keep exact books of it; raises `ConfigError` where it can't."""
    if instrument.is_contract:
        raise ConfigError(
            f"{instrument.id} is a {instrument.kind.value}, and a local venue has cash instruments",
            remedy="leave it out",
        )
    if is_pair(instrument):
        units_per_lot(instrument)
        if not instrument.base_currency:
            raise ConfigError(f"{instrument.id} has no base currency", remedy="define it")
    if rules.never_overdraws or (rules.fee_in_base_of_buys and is_pair(instrument)):
        ratios = (flat_ratio_e8(schedule, 0), flat_ratio_e8(schedule, 1))
        if any(each is None or not 0 <= each < E8 for each in ratios):
            raise ConfigError(
                f"the fees of {instrument.id} are no plain share of the notional",
                remedy="give fees in bps: this venue takes a share of what it pays out",
            )


class Account:
    """One account: balances, positions, orders and executions.

    Attributes:
        balances: By currency, 1e-8 units; what orders hold is in it.
        lots: Signed, by instrument that is no pair.
        costs: What they cost, minor units, by the same.
        dues: Dividends that are not paid yet, minor units, by instrument and time.
        open: Open orders by number, oldest first.
        orders: All orders by number.
        by_client_id: Number of the newest order of a client's id.
        executions: In order.
        fees: Paid so far, by currency.
        months: What was traded in a month, for fees that depend on it, by `VenueTerms.month_of`.
    """

    def __init__(
        self,
        name: str,
        balances: Mapping[str, int],
        instruments: Mapping[InstrumentId, Instrument],
        rules: ExchangeRules,
        mark: Callable[[InstrumentId], int],
    ) -> None:
        self.name = name
        self.balances = dict(balances)
        self.lots: dict[InstrumentId, int] = {}
        self.costs: dict[InstrumentId, int] = {}
        self.dues: dict[tuple[InstrumentId, int], int] = {}
        self.open: dict[int, PlacedOrder] = {}
        self.orders: dict[int, PlacedOrder] = {}
        self.by_client_id: dict[str, int] = {}
        self.executions: list[Execution] = []
        self.fees: dict[str, int] = {}
        self.months: dict[str, MonthVolume] = {}
        self._instruments = instruments
        self._rules = rules
        self._mark = mark

    def keep(self, order: PlacedOrder) -> PlacedOrder:
        """The order as it is now."""
        self.orders[order.number] = order
        if order.is_open:
            self.open[order.number] = order
        else:
            self.open.pop(order.number, None)
        return order

    def held(self, asset: str, without: int = 0) -> int:
        """What open orders hold of an asset, but for the order of that number."""
        return sum(
            each.held
            for each in self.open.values()
            if each.hold_asset == asset and each.number != without
        )

    def free(self, asset: str, without: int = 0) -> int:
        """What is left of a balance for further orders."""
        return self.balances.get(asset, 0) - self.held(asset, without)

    def position_lots(self, instrument: Instrument) -> int:
        """Signed whole lots; of a pair those in the balance of its base currency."""
        if is_pair(instrument):
            return self.balances.get(instrument.base_currency, 0) // units_per_lot(instrument)
        return self.lots.get(instrument.id, 0)

    def closable_lots(self, instrument: InstrumentId, without: int = 0) -> int:
        """Lots of a position that no open order is about to close; without sign."""
        return abs(self.lots.get(instrument, 0)) - self.held(instrument, without)

    def exposure(self, currency: str) -> tuple[int, int]:
        """(net, gross) value of the positions of a currency at their marks, minor units."""
        net = gross = 0
        for identity, lots in self.lots.items():
            instrument = self._instruments[identity]
            if instrument.quote_currency == currency:
                worth = lots * self._mark(identity) * instrument.minor_per_tick_lot
                net += worth
                gross += abs(worth)
        return net, gross

    def equity(self, currency: str) -> int:
        """Cash and positions of a currency at their marks, minor units."""
        return self.balances.get(currency, 0) + self.exposure(currency)[0]

    def buying_power(self, currency: str, without: int = 0) -> int:
        """What may still be bought with a currency, minor units; may be negative.

        Of a cash account the free balance; under leverage so many times the equity, less what
        positions are worth and orders hold.
        """
        if not self.lots and self._rules.leverage == 1:
            return self.free(currency, without)
        net, gross = self.exposure(currency)
        equity = self.balances.get(currency, 0) + net
        return equity * self._rules.leverage - gross - self.held(currency, without)

    def book(self, instrument: Instrument, execution: Execution) -> None:
        """Move what a fill moves. Fees are in `execution.fee_asset`."""
        quote = instrument.quote_currency
        self._add(quote, -execution.side * execution.notional)
        self._add(execution.fee_asset, -execution.fee)
        self.fees[execution.fee_asset] = self.fees.get(execution.fee_asset, 0) + execution.fee
        signed = execution.side * execution.lots
        if is_pair(instrument):
            self._add(instrument.base_currency, signed * units_per_lot(instrument))
        else:
            self._move(instrument.id, signed, execution.side * execution.notional)

    def _add(self, asset: str, amount: int) -> None:
        self.balances[asset] = self.balances.get(asset, 0) + amount

    def _move(self, instrument: InstrumentId, signed: int, notional: int) -> None:
        """Average cost: what closes takes its share of the cost, the rest opens at its price."""
        lots, cost = self.lots.get(instrument, 0), self.costs.get(instrument, 0)
        if lots * signed >= 0:
            lots, cost = lots + signed, cost + notional
        elif abs(signed) < abs(lots):
            cost -= cost * abs(signed) // abs(lots)
            lots += signed
        else:
            opened = lots + signed
            cost = notional * abs(opened) // abs(signed) if opened else 0
            lots = opened
        self._hold(instrument, lots, cost)

    def _hold(self, instrument: InstrumentId, lots: int, cost: int) -> None:
        if lots:
            self.lots[instrument], self.costs[instrument] = lots, cost
        else:
            self.lots.pop(instrument, None)
            self.costs.pop(instrument, None)

    def adjust(
        self, action: CorporateAction, instrument: Instrument, terms: ActionTerms, mark: int
    ) -> None:
        """What a corporate action makes of the account, by the rules of a session.

        Of a split whole lots are kept, and the fraction is paid at `mark`, the last price in ticks.
        """
        identity, currency = instrument.id, instrument.quote_currency
        kind = action.kind
        if kind is CorporateActionKind.DIVIDEND_PAYMENT:
            self._add(currency, self.dues.pop((identity, action.ts_pay), 0))
            return
        lots = self.lots.get(identity, 0)
        if not lots:
            return
        if kind.scales:
            after, left = compute_split_lots(lots, terms.top, terms.bottom)
            worth = mark * instrument.minor_per_tick_lot
            self._add(currency, compute_cash_in_lieu(left, terms.top, worth))
            released = compute_split_release(lots, self.costs[identity], left, terms.top, after)
            self._hold(identity, after, self.costs[identity] - released)
            return
        amount = compute_payment(lots, terms.top, terms.bottom)
        if kind is CorporateActionKind.CASH_DIVIDEND and action.ts_pay:
            due = self.dues.get((identity, action.ts_pay), 0)
            self.dues[identity, action.ts_pay] = due + amount
            return
        self._add(currency, amount)
        if kind is CorporateActionKind.DELISTING:
            self._hold(identity, 0, 0)

    def show(self, ts: int) -> Books:
        """All of it as a value."""
        return Books(
            account=self.name,
            ts=ts,
            balances={
                each: Balance(total=total, held=self.held(each))
                for each, total in sorted(self.balances.items())
            },
            positions={
                each: Holding(lots=lots, cost=self.costs[each], held=self.held(each))
                for each, lots in sorted(self.lots.items())
            },
            open_orders=tuple(self.open.values()),
            executions=tuple(self.executions),
            fees=dict(sorted(self.fees.items())),
        )


def find_hold(
    account: Account, instrument: Instrument, side: Side, ticks: int, fee: int
) -> tuple[str, int, int]:
    """What an order would hold: (asset, of it for each lot, and once for the fee).

    A sale holds what it sells and a purchase what it costs at `ticks`; of positions, an order that
    closes holds the lots and one that opens the money, short or long.
    """
    cost = (instrument.quote_currency, ticks * instrument.minor_per_tick_lot, fee)
    if is_pair(instrument):
        if side is Side.BUY:
            return cost
        return instrument.base_currency, units_per_lot(instrument), 0
    held = account.lots.get(instrument.id, 0)
    return (instrument.id, 1, 0) if held * side < 0 else cost
