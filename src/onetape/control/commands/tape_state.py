"""`onetape tape state`: books and open orders at any place of a tape, from the tape alone."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onetape.control.options import DebugOption, JsonOption
from onetape.control.tape_target import TapeArgument, tape_of
from onetape.control.terminal import plain, print_json, print_table
from onetape.domain.numbers import INT64_MAX, minor_to_decimal
from onetape.domain.timestamps import to_iso

if TYPE_CHECKING:
    from onetape.portfolio.ledger import Ledger, LedgerState
    from onetape.runtime.sessions.recovery import FoldedState


def state(
    target: TapeArgument,
    *,
    until: Annotated[
        int | None, typer.Option(metavar="SEQ", min=0, help="Behind this event, not the last one.")
    ] = None,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Print positions, open orders and balances at a place of a tape; nothing else is needed."""
    from onetape.runtime.sessions.recovery import fold_tape
    from onetape.tape.opening import open_tape

    reader = open_tape(tape_of(target))
    try:
        folded = fold_tape(reader, INT64_MAX if until is None else until)
    finally:
        reader.close()
    described = _describe(folded)
    if as_json:
        print_json(described)
    else:
        _print(described)


_BALANCES = (
    "cash", "receivable", "inventory", "fees", "financing", "capital", "realized", "income",
    "exchanged",
)  # fmt: skip


def _describe(folded: FoldedState) -> dict[str, Any]:
    """Exact decimals as text, so that nothing is lost on the way."""
    return {
        "session": folded.header.session,
        "seq": folded.seq,
        "time": to_iso(folded.ts),
        "complete": folded.is_complete,
        "kill_switch": folded.kill_switch.reason if folded.kill_switch.active else None,
        "halted": [
            {"instrument": name, "since": to_iso(each.ts_event), "reason": each.reason}
            for name, each in folded.halted.items()
        ],
        "quarantined": [each.strategy for each in folded.quarantined],
        "balances": [
            {
                "strategy": name,
                "currency": currency,
                **{each: f"{minor_to_decimal(getattr(balances, each)):f}" for each in _BALANCES},
            }
            for name, ledger in folded.ledgers.items()
            for currency, balances in _by_currency(ledger)
        ],
        "unsettled": [
            {
                "strategy": name,
                "currency": currency,
                "proceeds": f"{minor_to_decimal(amount):f}",
            }
            for (name, currency), amount in _unsettled(folded).items()
            if amount
        ],
        "positions": [
            {
                "strategy": name,
                "instrument": position.instrument,
                "quantity": _quantity(folded, position.instrument, position.lots),
                "cost": f"{minor_to_decimal(position.cost):f}",
            }
            for name, ledger in folded.ledgers.items()
            for position in ledger.held.values()
        ],
        "orders": [
            {
                "client_order_id": order.client_order_id,
                "instrument": order.instrument,
                "side": order.side.name.lower(),
                "type": order.order_type.name.lower(),
                "status": order.status.name.lower(),
                "quantity": _quantity(folded, order.instrument, order.lots or order.estimated_lots),
                "filled": _quantity(folded, order.instrument, order.filled_lots),
                "limit": _price(folded, order.instrument, order.limit_ticks),
                "stop": _price(folded, order.instrument, order.stop_ticks),
            }
            for order in folded.orders.values()
        ],
    }


def _unsettled(folded: FoldedState) -> dict[tuple[str, str], int]:
    """Proceeds that wait, by strategy and currency."""
    home = {(name, folded.ledgers[name].currency): each for name, each in folded.unsettled.items()}
    return {**home, **folded.unsettled_in}


def _by_currency(ledger: Ledger) -> list[tuple[str, LedgerState]]:
    """The balances in each currency, that of the books first."""
    state = ledger.save()
    return [(ledger.currency, state), *state.others]


def _quantity(folded: FoldedState, instrument: str, lots: int) -> str:
    return f"{folded.instruments[instrument].lots_to_quantity(lots):f}"


def _price(folded: FoldedState, instrument: str, ticks: int) -> str | None:
    return f"{folded.instruments[instrument].ticks_to_price(ticks):f}" if ticks else None


def _print(described: dict[str, Any]) -> None:
    end = "the session has stopped" if described["complete"] else "the session goes on behind"
    print(f"session {described['session']} behind event {described['seq']} "
          f"({described['time']}); {end}")  # fmt: skip
    if described["kill_switch"] is not None:
        print(f"KILL SWITCH: {plain(described['kill_switch'])}")
    for name in described["quarantined"]:
        print(f"QUARANTINED: {plain(name)}")
    for each in described["halted"]:
        reason = f" ({plain(each['reason'])})" if each["reason"] else ""
        print(f"HALTED: {plain(each['instrument'])} since {each['since']}{reason}")
    for title in ("balances", "unsettled", "positions", "orders"):
        rows = described[title]
        if title == "unsettled" and not rows:
            continue
        if not rows:
            print(f"no {title}")
            continue
        print(f"\n{title}")
        shown = [name for name in rows[0] if name not in _OFTEN_ZERO or _is_used(rows, name)]
        print_table(
            [f">{name}" if _is_number(rows[0][name]) else name for name in shown],
            [[_to_text(name, row[name]) for name in shown] for row in rows],
        )


_OFTEN_ZERO = {*_BALANCES} - {"cash", "capital"}
_MONEY = {*_BALANCES, "proceeds", "cost"}


def _is_used(rows: list[dict[str, Any]], name: str) -> bool:
    return any(Decimal(row[name]) for row in rows)


def _is_number(value: str | None) -> bool:
    return value is not None and value.lstrip("-")[:1].isdecimal()


def _to_text(name: str, value: str | None) -> str:
    from onetape.research.report_format import money

    if value is None:
        return ""
    return plain(money(Decimal(value)) if name in _MONEY else value)
