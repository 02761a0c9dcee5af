"""Alpaca's corporate actions as rows: those of one company, without shares of another one.

Source: Alpaca, "Market Data API" reference, Corporate actions; its models in alpaca-py.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import CorporateActionKind
from onetape.marketdata.corporate_actions import ActionRow

_K = CorporateActionKind
_EPOCH = date(1970, 1, 1)


def read_actions(
    groups: Mapping[str, Any], instrument: InstrumentId, symbol: str
) -> tuple[list[ActionRow], list[str]]:
    """The actions of `symbol` in an answer, and what of it has to be said in a file.

    Args:
        groups: Lists of actions by Alpaca's name of their kind.
        instrument: Whose they are here.
        symbol: What Alpaca calls it.

    Raises:
        LookupError, TypeError, ValueError: It is no such answer.
    """
    rows: list[ActionRow] = []
    told: list[str] = []
    for group, actions in groups.items():
        for each in actions:
            row = _read(group, each, instrument, symbol)
            if row is not None:
                rows.append(row)
            elif symbol in (each.get(key) for key in _OWNERS):
                when = each.get("ex_date") or each.get("effective_date") or each["process_date"]
                told.append(f"the {group.removesuffix('s').replace('_', ' ')} of {when} is not "
                            "taken: say it in a file, with the id of the other shares")  # fmt: skip
    return rows, told


_OWNERS = ("symbol", "source_symbol", "acquiree_symbol", "old_symbol")
"""Where an action names the shares to which it happens."""


def _read(
    group: str, each: Mapping[str, Any], instrument: InstrumentId, symbol: str
) -> ActionRow | None:
    if each.get("symbol", each.get("acquiree_symbol")) != symbol:
        return None
    day = each.get("ex_date") or each.get("effective_date") or each.get("process_date")
    pay_day: int | None = None
    value, divisor, cash = 0.0, 1.0, 0.0
    if group in ("forward_splits", "reverse_splits"):
        kind, value, divisor = _K.SPLIT, each["new_rate"], each["old_rate"]
    elif group == "stock_dividends":
        kind, value = _K.STOCK_DIVIDEND, each["rate"]
    elif group == "cash_dividends":
        kind, value = _K.CASH_DIVIDEND, each["rate"]
        pay_day = _to_day(each["payable_date"]) if each.get("payable_date") else None
    elif group == "cash_mergers":
        kind, cash = _K.MERGER, each["rate"]
    elif group == "worthless_removals":
        kind = _K.DELISTING
    else:
        return None
    return ActionRow(
        where="", instrument=instrument, kind=kind, day=_to_day(str(day)), ts=None,
        value=float(value), divisor=float(divisor), pay_day=pay_day, cash=float(cash),
    )  # fmt: skip


def _to_day(text: str) -> int:
    return (date.fromisoformat(text) - _EPOCH).days
