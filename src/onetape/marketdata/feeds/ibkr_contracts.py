"""What IB says of a contract, as one of our instruments: stocks, routed by SMART.

Source: Interactive Brokers, "TWS API": Contracts, Contract details, Minimum price increment.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.domain.nearest import nearest
from onetape.marketdata.feeds.ibkr_link import NO_SECURITY, TwsLink, TwsRefusal

if TYPE_CHECKING:
    from ib_async.contract import Contract, ContractDetails
    from ib_async.objects import PriceIncrement

_US_EXCHANGES = {"NYSE", "NASDAQ", "ARCA", "AMEX", "BATS", "IEX"}
_HOURS = re.compile(r"\d{8}:(\d{4})-(?:\d{8}:)?(\d{4})\Z")
_KINDS = {
    "IND": "an index", "FUT": "a future", "CONTFUT": "a future", "OPT": "an option",
    "FOP": "an option on a future", "CASH": "a currency pair", "BOND": "a bond",
    "FUND": "a fund", "CFD": "a CFD", "CRYPTO": "a coin", "WAR": "a warrant",
    "CMDTY": "a commodity",
}  # fmt: skip


def to_contract(identity: InstrumentId) -> Contract:
    """IB's question for an instrument: `AAPL.IBKR`, or `SAP/EUR.IBKR` where it is not in USD."""
    from ib_async.contract import Contract

    symbol, _, currency = identity.rpartition(".")[0].partition("/")
    return Contract(secType="STK", symbol=symbol, exchange="SMART", currency=currency or "USD")


async def find_details(link: TwsLink, identity: InstrumentId) -> ContractDetails:
    """The one contract that an id names.

    Raises:
        DataError: There is none (the nearest is named), or it is of another kind.
        TwsRefusal, TwsGone: It is not told.
    """
    contract = to_contract(identity)
    try:
        found = await link.ask(lambda number: link.client.reqContractDetails(number, contract))
    except TwsRefusal as refusal:
        if refusal.code != NO_SECURITY:
            raise
        found = []
    if not found:
        raise await _refuse_unknown(link, identity, contract)
    return found[0]


async def _refuse_unknown(link: TwsLink, identity: InstrumentId, contract: Contract) -> DataError:
    """The error for what is no stock there; what it is instead, or the nearest, is named."""
    like = await link.ask(lambda number: link.client.reqMatchingSymbols(number, contract.symbol))
    contracts = [each.contract for each in like]
    same = [each for each in contracts if each.symbol == contract.symbol]
    kinds = sorted({str(each.secType) for each in same} - {"STK"})
    if kinds:
        named = " and ".join([_KINDS.get(each, each) for each in kinds])
        return DataError(f"{identity} is {named} at IB ({', '.join(kinds)})", where=identity,
                         remedy="only stocks (STK) are traded here")  # fmt: skip
    elsewhere = sorted({each.currency for each in same} - {contract.currency})
    if elsewhere:
        return DataError(
            f"IB has no {contract.symbol!r} in {contract.currency}", where=identity,
            remedy=f"write {contract.symbol}/{elsewhere[0]}.{identity.rpartition('.')[2]}",
        )  # fmt: skip
    names = [each.symbol for each in contracts if each.secType == "STK"]
    return DataError(f"IB has no stock {contract.symbol!r} in {contract.currency}", where=identity,
                     remedy=nearest(contract.symbol, names))  # fmt: skip


async def read_instrument(link: TwsLink, identity: InstrumentId) -> Instrument:
    """What IB says of an instrument.

    Raises: As `find_details` and `to_instrument`.
    """
    details = await find_details(link, identity)
    steps = await _read_steps(link, details)
    price = 0.0
    if len(steps) > 1:
        price = await _read_price(link, to_contract(identity))
    return to_instrument(identity, details, steps, price)


async def _read_steps(link: TwsLink, details: ContractDetails) -> list[PriceIncrement]:
    """The steps of prices at SMART, by the price from which each holds."""
    exchanges = details.validExchanges.split(",")
    rules = details.marketRuleIds.split(",")
    rule = dict(zip(exchanges, rules, strict=False)).get("SMART", "")
    if not rule.isdigit():
        return []
    number = int(rule)
    return await link.ask_named(f"rule {number}", lambda: link.client.reqMarketRule(number))


async def _read_price(link: TwsLink, contract: Contract) -> float:
    """The newest daily close; 0 where there is none."""
    try:
        bars = await link.ask(
            lambda number: link.client.reqHistoricalData(
                number, contract, "", "1 D", "1 day", "TRADES", True, 2, False, []
            )
        )
    except TwsRefusal:
        return 0.0
    return bars[-1].close if bars else 0.0


def to_instrument(
    identity: InstrumentId,
    details: ContractDetails,
    steps: Sequence[PriceIncrement] = (),
    price: float = 0.0,
) -> Instrument:
    """The instrument that `details` describe.

    An instrument of ours has one tick. Where IB's steps change with the price, it is the step at
    `price`; an order beyond the edge of a coarser one is refused by IB, and told so.

    Args:
        identity: Its id.
        details: What IB says.
        steps: Of prices at SMART, each from its lower edge on; empty: `minTick`.
        price: About where it trades; 0: not known, and the coarsest step is taken.

    Raises:
        DataError: It is no stock, or prices or hours can't be read.
    """
    contract: Any = details.contract
    if contract.secType != "STK":
        named = _KINDS.get(contract.secType, f"of kind {contract.secType}")
        raise DataError(f"{identity} is {named} at IB", where=identity,
                        remedy="only stocks (STK) are traded here")  # fmt: skip
    if details.priceMagnifier not in (0, 1):
        raise DataError(
            f"IB quotes {identity} in 1/{details.priceMagnifier} of {contract.currency}",
            where=identity, remedy="leave it out: books would be in another unit than prices",
        )  # fmt: skip
    step = details.minTick
    if steps:
        reached = [each.increment for each in steps if each.lowEdge <= price]
        step = reached[-1] if price and reached else max(each.increment for each in steps)
    tick = _exact(step)
    lot = max(Decimal(1), _exact(getattr(details, "sizeIncrement", 1) or 1))
    least = _exact(getattr(details, "minSize", 1) or 1)
    return Instrument(
        id=identity, kind=InstrumentKind.EQUITY, quote_currency=contract.currency,
        tick_size=tick, lot_size=lot, min_lots=max(1, -int(-least // lot)),
        multiplier=_exact(contract.multiplier or 1), calendar=find_calendar(identity, details),
    )  # fmt: skip


def find_calendar(identity: InstrumentId, details: ContractDetails) -> str:
    """When it trades: the exchange's calendar in the US, else the hours of most of IB's days.

    Raises:
        DataError: IB does not say.
    """
    contract: Any = details.contract
    if contract.primaryExchange in _US_EXCHANGES:
        return "XNYS"
    days = Counter(
        hours for day in details.liquidHours.split(";") if (hours := _read_day(day)) is not None
    )
    if not days or not details.timeZoneId:
        raise DataError(f"IB does not say when {identity} trades", where=identity)
    opens, closes = days.most_common(1)[0][0]
    if opens == closes:
        return "24/7"
    clock = f"{opens[:2]}:{opens[2:]}-{closes[:2]}:{closes[2:]}"
    return f"hours:{details.timeZoneId}:{clock}"


def _read_day(day: str) -> tuple[str, str] | None:
    """(open, close) of `20240311:0930-20240311:1600`; of several parts the first and last."""
    parts = [found for each in day.split(",") if (found := _HOURS.search(each.strip()))]
    if not parts:
        return None
    return parts[0][1], parts[-1][2]


def _exact(number: float | str) -> Decimal:
    return Decimal(str(number)).normalize()


def by_contract(instruments: Iterable[Instrument]) -> dict[tuple[str, str], Instrument]:
    """Instruments by IB's symbol and currency."""
    found: dict[tuple[str, str], Instrument] = {}
    for each in instruments:
        symbol, _, currency = each.symbol.partition("/")
        found[symbol, currency or "USD"] = each
    return found


def find_instrument(
    known: dict[tuple[str, str], Instrument], contract: Contract
) -> Instrument | None:
    """The instrument of a contract in a message; None where the session has none."""
    if contract.secType != "STK":
        return None
    return known.get((contract.symbol, contract.currency))
