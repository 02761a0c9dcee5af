"""A comparison of two runs: in a sentence, as tables, as one document for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from onetape.control.replay_screen import exact, print_links
from onetape.control.terminal import plain, print_table
from onetape.domain.timestamps import to_iso

if TYPE_CHECKING:
    from onetape.domain.events import Event
    from onetape.runtime.replay.comparison import Comparison, Result, Side


def tell_parting(found: Comparison) -> str:
    """What came out, in a sentence."""
    parting = found.parting
    if parting is None:
        return (
            f"no decision differs, and no event: {found.tape.decisions:,} decisions up to "
            f"{to_iso(found.ts_end)} are the same"
        )
    if found.is_decision:
        return f"the decisions of {parting.strategy} part at {to_iso(parting.ts)}"
    event = parting.tape or parting.other
    kind = f" ({event.type})" if event else ""
    return (
        f"no decision differs ({found.tape.decisions:,}), but what became of them does, from "
        f"{to_iso(parting.ts)} on{kind}"
    )


def print_comparison(found: Comparison) -> None:
    """The sentence, both sides of the parting, and the figures side by side."""
    from onetape.research.replay_page import figures

    print(tell_parting(found))
    parting = found.parting
    if parting is not None:
        sides = (
            ("tape", parting.tape, parting.tape_chain),
            ("other", parting.other, parting.other_chain),
        )
        for name, event, chain in sides:
            print(f"\n{name}, event {event.seq}:" if event else f"\n{name}: nothing at that time")
            print_links(chain, event.seq if event else -1)
    shown = figures(found)
    print()
    print_table(
        ("", *(f">{name}" for name in shown.columns[1:])),
        [tuple(map(plain, row)) for row in shown.rows],
    )
    for name, side in (("the tape", found.tape), ("the other run", found.other)):
        for failure in side.quarantined:
            print(f"{name}: {failure.strategy} raised in {failure.callback}: {failure.error}")


def describe_comparison(found: Comparison) -> dict[str, Any]:
    """The same for programs; money exact, events as `onetape tape show --json` has them."""
    parting = found.parting
    return {
        "session": found.session,
        "what": tell_parting(found),
        "ts_end": found.ts_end,
        "time_end": to_iso(found.ts_end),
        "decisions_differ": found.is_decision,
        "events_differ": parting is not None,
        "parting": parting
        and {
            "ts": parting.ts,
            "time": to_iso(parting.ts),
            "strategy": parting.strategy,
            "tape": _event(parting.tape),
            "other": _event(parting.other),
            "tape_chain": parting.tape_chain,
            "other_chain": parting.other_chain,
        },
        "currency": found.currency,
        "tape": _side(found.tape),
        "other": _side(found.other),
        "pnl_difference": exact(found.other.account.pnl - found.tape.account.pnl),
        "pnl_difference_by_strategy": {
            name: exact(found.other.strategies[name].pnl - one.pnl)
            for name, one in found.tape.strategies.items()
            if name in found.other.strategies
        },
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "decisions": side.decisions,
        "orders": side.orders,
        "fills": side.fills,
        "denials": side.denials,
        "account": _result(side.account),
        "strategies": {name: _result(each) for name, each in side.strategies.items()},
        "quarantined": [msgspec.structs.asdict(each) for each in side.quarantined],
    }


def _result(result: Result) -> dict[str, Any]:
    return {
        "equity": exact(result.equity),
        "pnl": exact(result.pnl),
        "max_drawdown": result.max_drawdown,
    }


def _event(event: Event | None) -> dict[str, Any] | None:
    from onetape.tape.render import event_to_json

    return event_to_json(event) if event else None
