"""Everything a compiled session remembers: one record, the fields of `Engine`.

Orders, intents, commands and changes are columns of slots with a fixed capacity; a session that
needs more raises `MemoryError`, and the host runs it again with more.
"""

from __future__ import annotations

from typing import Annotated

from onetape.domain.rule_compiler import Fields, Kind, RecordType, get_fields
from onetape.execution.simulated.fee_rules import FeeSchedule, MonthVolume
from onetape.execution.simulated.latency import LatencyTerms
from onetape.execution.simulated.slippage import SlippageTerms
from onetape.risk.gates.buying_power import BuyingPower
from onetape.risk.gates.order_rate import OrderRate
from onetape.risk.input import RiskInput

Ints = Annotated[list[int], "slots"]
Floats = Annotated[list[float], "slots"]
IntColumn = Annotated[list[int], "column"]
FloatColumn = Annotated[list[float], "column"]


class Engine:
    """The state of a session. Money in minor units, quantities in lots, times ns UTC.

    Arrays of the market have an item a row, `instrument_*` and `position_*` one an instrument,
    `order_*` one an order slot, `intent_*` one an intent of this step, `command_*` one a command
    under way (a power of two, as they are a ring), `change_*` one a cancel or replace that waits
    for a bar. `gate_*` are row-major (gate, instrument).
    """

    # The market.
    rows: int
    ts_open: IntColumn
    ts_close: IntColumn
    ts_known: IntColumn
    session_close: IntColumn
    open: FloatColumn
    high: FloatColumn
    low: FloatColumn
    close: FloatColumn
    volume: FloatColumn
    ticks: IntColumn
    instrument: IntColumn
    slice_end: IntColumn
    sessions: int
    session_starts: IntColumn
    periods: int
    period_ends: IntColumn
    aggressor: IntColumn
    is_single: bool
    all_end: bool

    # Terms.
    instruments: int
    instrument_factor: Ints
    instrument_tick: Floats
    instrument_lot: Floats
    instrument_ticks_per_unit: Ints
    instrument_lots_per_unit: Ints
    instrument_whole_lot: Ints
    instrument_min_lots: Ints
    instrument_max_lots: Ints
    instrument_is_picky: Ints
    instrument_min_notional: Ints
    schedules: tuple[FeeSchedule, ...]
    slippages: tuple[SlippageTerms, ...]
    slips: Ints
    latency: LatencyTerms
    is_instant: bool
    limit_reach: Floats
    is_capped: Ints
    max_volume_ratio: Floats
    moves: Ints
    gate_is_on: Ints
    gate_limit: Ints
    power: BuyingPower
    has_rate: bool
    rate: OrderRate
    watches: bool
    controls: int
    control_ts: Ints
    control_active: Ints
    capital: int

    # Where it stands.
    row: int
    now: int
    accounted: int
    accounted_equity: int
    next_control: int
    next_session: int
    kill_active: bool
    last_row: Ints
    mark: Ints
    feature_columns: Ints
    feature_row: int

    # Books.
    cash: int
    inventory: int
    fees: int
    realized: int
    net: int
    gross: int
    held: int
    peak: int
    session_start_equity: int
    position_lots: Ints
    position_cost: Ints
    position_units: Floats
    month: MonthVolume
    order: RiskInput

    # Open orders: slots, and which are open, oldest first.
    slots: int
    open_count: int
    open_slots: Ints
    book_count: Ints
    order_number: Ints
    order_instrument: Ints
    order_side: Ints
    order_type: Ints
    order_time_in_force: Ints
    order_lots: Ints
    order_limit: Ints
    order_stop: Ints
    order_ts_expire: Ints
    order_reduce_only: Ints
    order_estimated: Ints
    order_lot_cost: Ints
    order_asked_lots: Ints
    order_asked_cost: Ints
    order_status: Ints
    order_filled: Ints
    order_filled_notional: Ints
    order_budget: Ints
    order_budget_is_ratio: Ints
    order_at_fill: Ints
    order_on_book: Ints
    order_arrival: Ints
    order_rest_expire: Ints
    order_waited: Ints
    order_changes: Ints

    # What the strategy wants in this step.
    intent_count: int
    queued: int
    intent_kind: Ints
    intent_number: Ints
    intent_instrument: Ints
    intent_side: Ints
    intent_basis: Ints
    intent_amount: Ints
    intent_type: Ints
    intent_time_in_force: Ints
    intent_limit: Ints
    intent_stop: Ints
    intent_ts_expire: Ints
    intent_reduce_only: Ints
    intent_target: Ints
    intent_label: Ints

    # What a strategy in Python has asked for since it was called: rows of `ASKED_WIDTH` words, the
    # arguments of `queue_intent`.
    asked: Ints
    asked_count: int

    # Commands under way to the venue: a ring; those of this step are behind `command_sent`.
    command_first: int
    command_sent: int
    command_count: int
    command_arrival: Ints
    command_kind: Ints
    command_number: Ints
    command_lots: Ints
    command_limit: Ints
    command_stop: Ints
    next_arrival: int
    last_arrival: int
    received: int
    accepted: int
    active: int

    # Changes that wait for a bar, oldest first.
    change_count: int
    change_arrival: Ints
    change_kind: Ints
    change_number: Ints
    change_lots: Ints
    change_limit: Ints
    change_stop: Ints

    # Orders that meet a bar.
    met_slot: Ints
    met_rank: Ints
    met_code: Ints
    met_ticks: Ints
    met_ts: Ints
    other_buys: Ints
    other_sells: Ints

    # Figures.
    orders: int
    denied: int
    fills: int
    traded_units: int
    traded_rest: int
    slices: int
    slices_held: int
    slices_solvent: int
    equity_units: int
    equity_rest: int
    exposure_sum: float
    growth_high: float
    high_from: int
    low_equity: int
    depth: float
    high_row: int
    high_slice: int
    deep_high_row: int
    deep_high_slice: int
    deep_end_row: int
    deep_end_slice: int
    is_deep_open: bool
    period: int
    period_equity: Ints
    trip_sign: Ints
    trip_entered: Ints
    trip_exited: Ints
    trip_entry_notional: Ints
    trip_exit_notional: Ints
    trip_fees: Ints
    trip_ts: Ints
    trips: int
    trips_won: int
    trip_won_sum: int
    trip_lost_sum: int
    trip_net_sum: int
    trip_seconds: int
    trip_nanoseconds: int
    trip_best: int
    trip_worst: int

    # How far it runs before it comes back: a row, or so many rows of the log.
    is_started: bool
    stop_row: int
    quiet_stop: int
    log_pause: int

    # The log of events, rows of `LOG_WIDTH` words, when somebody wants it, and the step it is in.
    logs: bool
    log_count: int
    log_rows: int
    log: IntColumn
    step_is_new: bool
    step_row: int
    step_newest: int


LOG_WIDTH = 24

ASKED_WIDTH = 13

_KINDS: dict[object, Kind] = {
    int: "int", float: "float", bool: "bool", list[int]: "ints", list[float]: "floats",
    tuple[int, ...]: "ints", Ints: "int_slots", Floats: "float_slots",
    IntColumn: "int_column", FloatColumn: "float_column",
}  # fmt: skip

_PARTS = (FeeSchedule, SlippageTerms, LatencyTerms, BuyingPower, OrderRate, MonthVolume)
_OUTSIDE = ("intent", "instrument", "client_order_id")


def make_engine_type(definition: str) -> tuple[RecordType, dict[str, RecordType]]:
    """The record type of `Engine`, and those of its parts by class name.

    Args:
        definition: Hash of all code that reads it.
    """
    kinds = dict(_KINDS)
    parts: dict[str, RecordType] = {}
    for struct in (*_PARTS, RiskInput):
        skip = _OUTSIDE if struct is RiskInput else ()
        fields = get_fields(struct, _KINDS, skip)
        part = RecordType(f"{struct.__name__}({definition})", fields)
        kinds[struct] = parts[struct.__name__] = part
    kinds[tuple[FeeSchedule, ...]] = ("records", parts["FeeSchedule"])
    kinds[tuple[SlippageTerms, ...]] = ("records", parts["SlippageTerms"])
    fields: Fields = get_fields(Engine, kinds)
    return RecordType(f"Engine({definition})", fields), parts
