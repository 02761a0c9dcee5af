"""The state of a replay as tables for people and as one document for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from onetape.control.terminal import print_table
from onetape.domain.numbers import minor_to_decimal, show_minor
from onetape.domain.timestamps import to_iso

if TYPE_CHECKING:
    from onetape.domain.events import Event
    from onetape.runtime.replay.session import Replay
    from onetape.runtime.replay.standing import Standing, Surroundings
    from onetape.runtime.replay.walk import Walk
    from onetape.telemetry.why import Link


def exact(minor: int) -> Decimal:
    """An exact amount without zeros at its end, as metrics.json has it."""
    return Decimal(f"{minor_to_decimal(minor).normalize():f}")


def print_links(links: Iterable[Link], mark: int = -1) -> None:
    """A chain, one link a line; the event `mark` has a `>` before it, seq -1 is not shown."""
    for link in links:
        line = str(link) if link.seq >= 0 else str(link).replace("-1", "  ", 1)
        print(f"{'>' if link.seq == mark >= 0 else ' '}{line}")


def print_positions(around: Surroundings, standing: Standing) -> None:
    """What every strategy holds, at the marks."""
    rows = [
        (
            each.strategy, each.instrument, f"{each.quantity:,f}", show_minor(each.cost),
            f"{each.mark:,f}", show_minor(each.value), show_minor(each.unrealized_pnl),
        )
        for each in around.holdings(standing)
    ]  # fmt: skip
    _print_rows(
        "No positions.",
        ("position of", "instrument", ">quantity", ">cost", ">mark", ">value", ">unrealized PnL"),
        rows,
    )


def print_orders(around: Surroundings, standing: Standing) -> None:
    """Open orders, oldest first."""
    rows = [
        (
            each.client_order_id, each.instrument, each.side, each.order_type, each.time_in_force,
            each.status, _show(each.quantity) if each.quantity else "at the fill",
            _show(each.filled), _show(each.limit), _show(each.stop),
        )
        for each in around.orders(standing)
    ]  # fmt: skip
    _print_rows(
        "No open orders.",
        ("open order", "instrument", "side", "type", "until", "status", ">quantity", ">filled",
         ">limit", ">stop"),
        rows,
    )  # fmt: skip


def print_books(around: Surroundings, standing: Standing) -> None:
    """The balances of every strategy, and of the account where there are several."""
    books = [
        around.books(standing, name, currency)
        for name in around.strategies
        for currency in around.currencies(standing, name)
    ]
    names = (
        "capital",
        "cash",
        "inventory",
        "fees",
        "realized_pnl",
        "unrealized_pnl",
        *(
            name
            for name in ("income", "receivable", "financing", "exchanged")
            if any(getattr(each, name) for each in books)
        ),
        "equity",
    )
    amounts = [[getattr(each, name) for name in names] for each in books]
    rows = [
        (f"{each.strategy} ({each.currency})", *map(show_minor, line))
        for each, line in zip(books, amounts, strict=True)
    ]
    if len(rows) > 1 and len({each.currency for each in books}) == 1:
        total = map(sum, zip(*amounts, strict=True))
        rows.append(("all", *map(show_minor, total)))
    headers = ("books of", *(f">{name.replace('_pnl', ' PnL')}" for name in names))
    print_table(headers, rows)


def print_features(around: Surroundings, standing: Standing) -> None:
    """Features of every strategy for the newest bar of each instrument."""
    rows = [
        (strategy, instrument, name, repr(value))
        for strategy in around.strategies
        for instrument in around.instruments
        for name, value in around.features_at(strategy, instrument, standing.row).items()
    ]
    _print_rows("No features.", ("features of", "instrument", "name", ">value"), rows)


def print_state(standing: Standing) -> None:
    """Declared state, timers, and whatever stops trading."""
    rows = [
        (strategy, name, repr(value))
        for strategy, values in standing.state.items()
        for name, value in values.items()
    ]
    _print_rows("No declared state.", ("state of", "name", ">value"), rows)
    if standing.timers:
        timers = [(strategy, name, to_iso(due)) for due, strategy, name in standing.timers]
        print_table(("timer of", "name", "due"), timers)
    for name in standing.quarantined:
        print(f"{name} is quarantined: it has raised and takes no further part.")
    if standing.kill_reason is not None:
        print(f"The kill switch is on: {standing.kill_reason}")


def print_bars(around: Surroundings, standing: Standing) -> None:
    """The newest bar of each instrument."""
    rows: list[tuple[str, ...]] = []
    for instrument in around.instruments:
        newest = around.newest_row(instrument, standing.row)
        if newest >= 0:
            closed = to_iso(int(around.timeline.columns["ts_close"][newest]))
            values = around.market_at(instrument, standing.row).values()
            rows.append((instrument, str(newest), closed, *map(repr, values)))
    headers = ("bar of", ">row", "closed", ">open", ">high", ">low", ">close", ">volume")
    _print_rows("No bar yet.", headers, rows)


def print_place(replay: Replay, walk: Walk, decision: Event | None, chain: Sequence[Link]) -> None:
    """Where a replay stands: everything on one screen."""
    around, standing = replay.surroundings, walk.standing
    whole = "" if replay.places.is_complete else ", which is incomplete"
    since = f" since the snapshot behind bar {replay.rows_skipped:,}" if replay.rows_skipped else ""
    print(f"{to_iso(standing.ts)}, behind event {walk.seq:,} and {standing.row + 1:,} of "
          f"{len(replay.timeline):,} bars; identical with the tape{whole}{since}")  # fmt: skip
    print()
    print_positions(around, standing)
    print_orders(around, standing)
    print_books(around, standing)
    stops = standing.timers or standing.quarantined or standing.kill_reason is not None
    if any(standing.state.values()) or stops:
        print_state(standing)
    if decision is None:
        print("\nNothing has been decided.")
        return
    print("\nThe newest decision:")
    print_links(chain, decision.seq)


def describe_standing(
    replay: Replay, standing: Standing, decision: Event | None, chain: Sequence[Link]
) -> dict[str, Any]:
    """Everything at once for programs: exact numbers, times in ns and as ISO text."""
    from onetape.tape.render import event_to_json

    around = replay.surroundings
    return {
        "session": replay.header.session,
        "seq": standing.seq,
        "ts": standing.ts,
        "time": to_iso(standing.ts),
        "row": standing.row,
        "complete": replay.places.is_complete,
        "changes": replay.changes,
        "positions": [
            {
                "strategy": each.strategy,
                "instrument": each.instrument,
                "quantity": each.quantity,
                "mark": each.mark,
                "cost": exact(each.cost),
                "value": exact(each.value),
                "unrealized_pnl": exact(each.unrealized_pnl),
            }
            for each in around.holdings(standing)
        ],
        "orders": around.orders(standing),
        "books": [_describe_books(around, standing, name) for name in around.strategies],
        "features": {
            strategy: {
                instrument: around.features_at(strategy, instrument, standing.row)
                for instrument in around.instruments
            }
            for strategy in around.strategies
        },
        "state": standing.state,
        "timers": [
            {"strategy": strategy, "name": name, "due": to_iso(due)}
            for due, strategy, name in standing.timers
        ],
        "quarantined": standing.quarantined,
        "kill_switch": standing.kill_reason,
        "decision": event_to_json(decision) if decision else None,
        "chain": chain,
    }


def _describe_books(around: Surroundings, standing: Standing, strategy: str) -> dict[str, Any]:
    books = around.books(standing, strategy)
    amounts = {
        name: exact(value)
        for name in books.__struct_fields__
        if isinstance(value := getattr(books, name), int)
    }
    return {"strategy": strategy, "currency": books.currency, **amounts}


def _show(value: Decimal | None) -> str:
    return "" if value is None else f"{value:,f}"


def _print_rows(nothing: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if rows:
        print_table(headers, rows)
    else:
        print(nothing)
