"""What IB says of a contract, as an instrument; and what is refused by name.

Details as IB's documentation of contracts shows them for stocks ("TWS API", Contracts, Minimum
price increment, Trading hours).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ib_async.contract import Contract, ContractDetails
from ib_async.objects import PriceIncrement

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.marketdata.feeds.ibkr_contracts import by_contract, to_contract, to_instrument

AAPL = InstrumentId("AAPL.IBKR")
HOURS = "20240311:0930-20240311:1600;20240312:0930-20240312:1600;20240313:CLOSED"


def details(**changes: Any) -> ContractDetails:
    contract = Contract(symbol="AAPL", secType=changes.pop("kind", "STK"), exchange="SMART",
                        currency=changes.pop("currency", "USD"),
                        primaryExchange=changes.pop("primary", "NASDAQ"))  # fmt: skip
    usual = {"minTick": 0.01, "priceMagnifier": 1, "timeZoneId": "US/Eastern",
             "liquidHours": HOURS, "minSize": 0.0001, "sizeIncrement": 0.0001}  # fmt: skip
    return ContractDetails(contract=contract, **(usual | changes))


def test_share_of_the_us_has_whole_lots_cents_and_the_calendar_of_its_exchange() -> None:
    found = to_instrument(AAPL, details())
    assert (found.tick_size, found.lot_size, found.min_lots) == (Decimal("0.01"), 1, 1)
    assert (found.quote_currency, found.calendar, found.multiplier) == ("USD", "XNYS", 1)


CALENDARS = {
    HOURS: "hours:US/Eastern:09:30-16:00",
    # an early close among whole days
    "20231124:0930-20231124:1300;" + HOURS: "hours:US/Eastern:09:30-16:00",
    # a pause at noon, as in Hong Kong
    "20240311:0930-20240311:1200,20240311:1300-20240311:1600": "hours:US/Eastern:09:30-16:00",
    # the older form, without the second date
    "20240311:0900-1730;20240312:0900-1730": "hours:US/Eastern:09:00-17:30",
    "20240311:0000-20240312:0000": "24/7",
}


@pytest.mark.parametrize("hours", CALENDARS)
def test_hours_elsewhere_are_those_of_most_days(hours: str) -> None:
    found = to_instrument(AAPL, details(primary="LSE", liquidHours=hours))
    assert found.calendar == CALENDARS[hours]


STEPS = [PriceIncrement(0.0, 0.0001), PriceIncrement(1.0, 0.01), PriceIncrement(100.0, 0.05)]


@pytest.mark.parametrize(
    ("price", "tick"),
    [(0.5, "0.0001"), (1.0, "0.01"), (99.0, "0.01"), (250.0, "0.05"), (0, "0.05")],
)
def test_tick_is_the_step_at_the_price_and_the_coarsest_where_that_is_unknown(
    price: float, tick: str
) -> None:
    assert to_instrument(AAPL, details(), STEPS, price).tick_size == Decimal(tick)


def test_lots_of_a_hundred_are_lots() -> None:
    found = to_instrument(AAPL, details(minSize=100.0, sizeIncrement=100.0, currency="JPY"))
    assert (found.lot_size, found.min_lots, found.quote_currency) == (100, 1, "JPY")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "future": ({"kind": "FUT"}, "is a future at IB"),
    "pair": ({"kind": "CASH"}, "is a currency pair at IB"),
    "pence": ({"priceMagnifier": 100, "currency": "GBP"}, "in 1/100 of GBP"),
    "hours": ({"primary": "LSE", "liquidHours": "20240311:CLOSED"}, "does not say when"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_traded_here_is_refused_by_name(case: str) -> None:
    changes, said = REFUSED[case]
    with pytest.raises(DataError, match=said):
        to_instrument(AAPL, details(**changes))


def test_currency_behind_the_symbol_names_a_stock_elsewhere() -> None:
    assert (to_contract(AAPL).symbol, to_contract(AAPL).currency) == ("AAPL", "USD")
    sap = to_contract(InstrumentId("SAP/EUR.IBKR"))
    assert (sap.symbol, sap.currency, sap.secType, sap.exchange) == ("SAP", "EUR", "STK", "SMART")
    usual = to_instrument(InstrumentId("SAP/EUR.IBKR"), details(currency="EUR"))
    assert by_contract([usual]) == {("SAP", "EUR"): usual}
