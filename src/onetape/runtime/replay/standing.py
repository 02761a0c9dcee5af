"""What a session knows after one engine step, and what can be read off it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import numpy as np

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import index_of, market_of
from onetape.domain.market import BAR_FLOAT_COLUMNS
from onetape.domain.notional import compute_value
from onetape.domain.numbers import compute_ticks
from onetape.execution.oms import Order
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.adjusted_marks import compute_mark_ticks
from onetape.portfolio.closing_marks import closing_prices
from onetape.portfolio.currency_pairs import find_pairs
from onetape.portfolio.ledger import LedgerState
from onetape.runtime.order_desk import DeskState
from onetape.runtime.pipeline import PipelineState
from onetape.runtime.replay.inputs import RecordedInputs
from onetape.runtime.sessions.backtest import BacktestSession, StrategySpec
from onetape.telemetry.why import FeatureColumns

Value = bool | int | float | str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a session after an engine step, or after the last row of a time slice.

    Attributes:
        seq: That of the newest event, a pinned bar counted.
        ts: Engine time, ns UTC.
        row: The newest row of the timeline; -1 before any.
        ledgers: The books of each strategy, in minor units.
        orders: Open orders, oldest first.
        state: What each strategy has declared as its state.
        quarantined: Strategies that have raised.
        timers: (due, strategy, name) of each timer that is set, in the order in which they fire.
        kill_reason: Why an operator's kill switch is on; None: it is off.
        actions: How many corporate actions have come.
        steps: How many contract steps have come.
    """

    seq: int
    ts: int
    row: int
    ledgers: dict[str, LedgerState]
    orders: tuple[Order, ...]
    state: dict[str, dict[str, Value]]
    quarantined: tuple[str, ...]
    timers: tuple[tuple[int, str, str], ...]
    kill_reason: str | None
    actions: int = 0
    steps: int = 0


def take_standing(session: BacktestSession | RecordedInputs, events: int, ts: int) -> Standing:
    """The state of `session` now, after so many `events`, at engine time `ts` (ns UTC)."""
    if isinstance(session, RecordedInputs):  # its rows stand on its tape, and are events
        row, desk, pipeline = session.session.save_books()
        actions = len(session.session.actions)
        return _stand(events - 1, ts, row, desk, pipeline, actions=actions)
    saved = session.save()
    return _stand(events + saved.row, ts, saved.row, saved.desk, saved.pipeline,
                  actions=saved.actions, steps=saved.steps)  # fmt: skip


def _stand(
    seq: int, ts: int, row: int, desk: DeskState, pipeline: PipelineState, *, actions: int = 0,
    steps: int = 0,
) -> Standing:  # fmt: skip
    strategies = pipeline.strategies
    return Standing(
        seq=seq,
        ts=ts,
        row=row,
        ledgers={name: each.ledger for name, each in strategies.items()},
        # Orders change as the session goes on.
        orders=tuple(msgspec.structs.replace(each) for each in desk.orders),
        state={
            name: each.values | {value: int(text) for value, text in each.large.items()}
            for name, each in strategies.items()
        },
        quarantined=tuple(each.strategy for each in pipeline.quarantined),
        timers=tuple((due, strategy, name) for due, _, strategy, name in pipeline.timers.waiting),
        kill_reason=desk.kill_reason if desk.kill_active else None,
        actions=actions,
        steps=steps,
    )


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A position at its mark. `cost`, `value` and `unrealized_pnl` are minor units.

    `worth` is what it adds to equity: the value, of a perpetual or future only what it has gained.
    """

    strategy: str
    instrument: InstrumentId
    quantity: Decimal
    cost: int
    mark: Decimal
    value: int
    unrealized_pnl: int
    worth: int


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """The balances of one strategy, in minor units; see `Ledger`. `equity` is at the marks."""

    strategy: str
    currency: str
    capital: int
    cash: int
    inventory: int
    fees: int
    realized_pnl: int
    unrealized_pnl: int
    equity: int
    income: int
    receivable: int
    financing: int
    exchanged: int


class OpenOrderLine(msgspec.Struct, frozen=True, kw_only=True):
    """An open order in units of its instrument; a price that its type lacks is None.

    `quantity` is 0 while the venue has yet to size it.
    """

    client_order_id: str
    strategy: str
    instrument: InstrumentId
    side: str
    order_type: str
    time_in_force: str
    status: str
    quantity: Decimal
    filled: Decimal
    limit: Decimal | None
    stop: Decimal | None


class Surroundings:
    """What does not change while a session runs: its market data and the columns of its features.

    Args:
        timeline: The market data.
        features: Columns by strategy and name.
        specs: The strategies.

    Attributes:
        declared: Types of the declared state of each strategy, by name.
    """

    def __init__(
        self, timeline: Timeline, features: FeatureColumns, specs: Sequence[StrategySpec]
    ) -> None:
        self.timeline = timeline
        self.features = features
        self.strategies = tuple(each.name for each in specs)
        self.declared = {
            each.name: {
                name: state.type_name for name, state in each.strategy.declared_state.items()
            }
            for each in specs
        }
        self._currencies = {each.name: each.currency for each in specs}
        self.instruments: dict[InstrumentId, Instrument] = {
            each.id: each for each in timeline.tradable
        }
        self._index = index_of(timeline.tradable)

    def newest_row(self, instrument: InstrumentId, row: int) -> int:
        """The newest row of `instrument` at `row`; -1 before its first."""
        if len(self.instruments) == 1:
            return row
        rows = self.timeline.rows_of(instrument)
        at = int(np.searchsorted(rows, row, side="right"))
        return int(rows[at - 1]) if at else -1

    def instrument_at(self, row: int) -> InstrumentId:
        """Whose bar a row is."""
        return self.timeline.instruments[int(self.timeline.instrument_index[row])].id

    def market_at(self, instrument: InstrumentId, row: int) -> dict[str, float]:
        """The newest bar of an instrument at `row` by column; NaN before its first."""
        return {name: self.column_at(name, instrument, row) for name in BAR_FLOAT_COLUMNS}

    def column_at(self, name: str, instrument: InstrumentId, row: int) -> float:
        """A column of the newest bar of an instrument at `row`; NaN before its first."""
        newest = self.newest_row(instrument, row)
        return float(self.timeline.columns[name][newest]) if newest >= 0 else float("nan")

    def features_at(self, strategy: str, instrument: InstrumentId, row: int) -> dict[str, float]:
        """The features of a strategy for the newest bar of an instrument; NaN before its first."""
        newest = self.newest_row(instrument, row)
        return {
            name: float(column[newest]) if newest >= 0 else float("nan")
            for name, column in self.features[strategy].items()
        }

    def mark_ticks(self, instrument: InstrumentId, standing: Standing, lots: int = 0) -> int:
        """The mark of an instrument: its newest close in ticks; 0 before its first.

        Where positions are marked at their closing side, that of a position of so many `lots`.
        """
        newest = self.newest_row(instrument, standing.row)
        index = self._index[instrument]
        if self.timeline.marks_closing_side and lots and newest >= 0:
            side = "ask" if lots < 0 else "bid"
            here = slice(newest, newest + 1)
            columns = self.timeline.columns
            price = float(closing_prices(columns[side][here], columns["close"][here])[0])
            return compute_ticks(price, self.instruments[instrument].tick_float, 0)
        return compute_mark_ticks(self.timeline, index, newest, standing.actions, standing.steps)

    def holdings(self, standing: Standing, strategy: str | None = None) -> list[Holding]:
        """Positions that are not flat, of one strategy or of all."""
        found: list[Holding] = []
        for name, ledger in standing.ledgers.items():
            for identity, lots, cost in ledger.held if strategy in (None, name) else ():
                instrument = self.instruments[identity]
                ticks = self.mark_ticks(identity, standing, lots)
                factor = instrument.minor_per_tick_lot
                value = compute_value(lots, ticks, factor, instrument.inverse_factor)
                found.append(
                    Holding(
                        strategy=name,
                        instrument=identity,
                        quantity=instrument.lots_to_quantity(lots),
                        cost=cost,
                        mark=instrument.ticks_to_price(ticks),
                        value=value,
                        unrealized_pnl=value - cost,
                        worth=value - cost if instrument.is_margined else value,
                    )
                )
        return found

    def currencies(self, standing: Standing, strategy: str) -> list[str]:
        """What a strategy keeps books in, its own currency first."""
        return [
            self._currencies[strategy], *(name for name, _ in standing.ledgers[strategy].others)
        ]  # fmt: skip

    def books(self, standing: Standing, strategy: str, currency: str = "") -> Books:
        """The balances of one strategy in one currency; empty: its own."""
        home = self._currencies[strategy]
        currency = currency or home
        ledger = standing.ledgers[strategy]
        if currency != home:
            ledger = dict(ledger.others)[currency]
        held = [
            each
            for each in self.holdings(standing, strategy)
            if self.instruments[each.instrument].settlement_currency == currency
        ]
        return Books(
            strategy=strategy,
            currency=currency,
            capital=ledger.capital,
            cash=ledger.cash,
            inventory=ledger.inventory,
            fees=ledger.fees,
            realized_pnl=ledger.realized,
            unrealized_pnl=sum(each.unrealized_pnl for each in held),
            equity=ledger.cash + ledger.receivable + sum(each.worth for each in held),
            income=ledger.income,
            receivable=ledger.receivable,
            financing=ledger.financing,
            exchanged=ledger.exchanged,
        )

    def equity(self, standing: Standing, strategy: str | None = None) -> int:
        """Equity of one strategy, or of the account, in minor units."""
        ledgers = standing.ledgers
        names = ledgers if strategy is None else (strategy,)
        return sum(
            self._to_home(standing, name, currency, self.books(standing, name, currency).equity)
            for name in names
            for currency in self.currencies(standing, name)
        )

    def _to_home(self, standing: Standing, strategy: str, currency: str, amount: int) -> int:
        home = self._currencies[strategy]
        if currency == home or not amount:
            return amount
        pair = find_pairs(self.timeline.instruments, home, [currency])[currency]
        return pair.to_home(amount, self.mark_ticks(pair.instrument, standing))

    def position(self, standing: Standing, instrument: InstrumentId) -> float:
        """Units of an instrument that all strategies hold together."""
        lots = sum(
            count
            for ledger in standing.ledgers.values()
            for identity, count, _ in ledger.held
            if instrument in (identity, market_of(identity))
        )
        return self.instruments[instrument].lots_to_float(lots)

    def orders(self, standing: Standing) -> list[OpenOrderLine]:
        """Open orders, oldest first."""
        lines: list[OpenOrderLine] = []
        for order in standing.orders:
            instrument = self.instruments[order.instrument]
            limit, stop = order.limit_ticks, order.stop_ticks
            lines.append(
                OpenOrderLine(
                    client_order_id=order.client_order_id,
                    strategy=order.strategy,
                    instrument=order.instrument,
                    side=order.side.name,
                    order_type=order.order_type.name,
                    time_in_force=order.time_in_force.name,
                    status=order.status.name,
                    quantity=instrument.lots_to_quantity(order.lots),
                    filled=instrument.lots_to_quantity(order.filled_lots),
                    limit=instrument.ticks_to_price(limit) if limit else None,
                    stop=instrument.ticks_to_price(stop) if stop else None,
                )
            )
        return lines
