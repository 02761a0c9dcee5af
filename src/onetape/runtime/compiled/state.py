"""Everything a compiled session remembers: one record, the fields of `Engine`.

Orders, intents, commands and changes are columns of slots with a fixed capacity; a session that
needs more raises `MemoryError`, and the host runs it again with more.
"""

from __future__ import annotations

from typing import Annotated

from onetape.domain.rule_compiler import Fields, Kind, RecordType, get_fields
from onetape.execution.simulated.fees import FeeSchedule, MonthNotional
from onetape.execution.simulated.latency import LatencyTerms
from onetape.execution.simulated.slippage import SlippageTerms
from onetape.risk.gates.buying_power import BuyingPower
from onetape.risk.gates.order_rate import OrderRate
from onetape.risk.input import RiskInput

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
    session_starts: IntColumn
    period_ends: IntColumn
    aggressor: IntColumn
    is_single: bool
    all_end: bool

    # Terms.
    instruments: int
    instrument_factor: list[int]
    instrument_tick: list[float]
    instrument_lot: list[float]
    instrument_ticks_per_unit: list[int]
    instrument_lots_per_unit: list[int]
    instrument_whole_lot: list[int]
    instrument_min_lots: list[int]
    instrument_max_lots: list[int]
    instrument_is_picky: list[int]
    instrument_min_notional: list[int]
    schedules: tuple[FeeSchedule, ...]
    slippage: SlippageTerms
    slips: bool
    latency: LatencyTerms
    is_instant: bool
    limit_reach: float
    is_capped: bool
    max_volume_ratio: float
    moves: list[int]
    gate_is_on: list[int]
    gate_limit: list[int]
    power: BuyingPower
    has_rate: bool
    rate: OrderRate
    watches: bool
    control_ts: list[int]
    control_active: list[int]
    capital: int

    # Where it stands.
    row: int
    now: int
    accounted: int
    accounted_equity: int
    next_control: int
    next_session: int
    kill_active: bool
    last_row: list[int]
    mark: list[int]
    feature_columns: list[int]
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
    position_lots: list[int]
    position_cost: list[int]
    position_units: list[float]
    month: MonthNotional
    order: RiskInput

    # Open orders: slots, and which are open, oldest first.
    open_count: int
    open_slots: list[int]
    book_count: list[int]
    order_number: list[int]
    order_instrument: list[int]
    order_side: list[int]
    order_type: list[int]
    order_time_in_force: list[int]
    order_lots: list[int]
    order_limit: list[int]
    order_stop: list[int]
    order_ts_expire: list[int]
    order_reduce_only: list[int]
    order_estimated: list[int]
    order_lot_cost: list[int]
    order_asked_lots: list[int]
    order_asked_cost: list[int]
    order_status: list[int]
    order_filled: list[int]
    order_filled_notional: list[int]
    order_budget: list[int]
    order_budget_is_ratio: list[int]
    order_at_fill: list[int]
    order_on_book: list[int]
    order_arrival: list[int]
    order_rest_expire: list[int]
    order_waited: list[int]
    order_changes: list[int]

    # What the strategy wants in this step.
    intent_count: int
    queued: int
    intent_kind: list[int]
    intent_number: list[int]
    intent_instrument: list[int]
    intent_side: list[int]
    intent_basis: list[int]
    intent_amount: list[int]
    intent_type: list[int]
    intent_time_in_force: list[int]
    intent_limit: list[int]
    intent_stop: list[int]
    intent_ts_expire: list[int]
    intent_reduce_only: list[int]
    intent_target: list[int]

    # Commands under way to the venue: a ring; those of this step are behind `command_sent`.
    command_first: int
    command_sent: int
    command_count: int
    command_arrival: list[int]
    command_kind: list[int]
    command_number: list[int]
    command_lots: list[int]
    command_limit: list[int]
    command_stop: list[int]
    next_arrival: int
    last_arrival: int
    received: int
    accepted: int
    active: int

    # Changes that wait for a bar, oldest first.
    change_count: int
    change_arrival: list[int]
    change_kind: list[int]
    change_number: list[int]
    change_lots: list[int]
    change_limit: list[int]
    change_stop: list[int]

    # Orders that meet a bar.
    met_slot: list[int]
    met_rank: list[int]
    met_code: list[int]
    met_ticks: list[int]
    met_ts: list[int]
    other_buys: list[int]
    other_sells: list[int]

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
    period_equity: list[int]
    trip_sign: list[int]
    trip_entered: list[int]
    trip_exited: list[int]
    trip_entry_notional: list[int]
    trip_exit_notional: list[int]
    trip_fees: list[int]
    trip_ts: list[int]
    trips: int
    trips_won: int
    trip_won_sum: int
    trip_lost_sum: int
    trip_net_sum: int
    trip_seconds: int
    trip_nanoseconds: int
    trip_best: int
    trip_worst: int

    # The log of events, rows of `LOG_WIDTH` words, when somebody wants it.
    logs: bool
    log_count: int
    log_rows: int
    log: list[int]


LOG_WIDTH = 32

_KINDS: dict[object, Kind] = {
    int: "int", float: "float", bool: "bool", list[int]: "ints", list[float]: "floats",
    tuple[int, ...]: "ints", IntColumn: "int_column", FloatColumn: "float_column",
}  # fmt: skip

_PARTS = (FeeSchedule, SlippageTerms, LatencyTerms, BuyingPower, OrderRate, MonthNotional)
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
    fields: Fields = get_fields(Engine, kinds)
    return RecordType(f"Engine({definition})", fields), parts
