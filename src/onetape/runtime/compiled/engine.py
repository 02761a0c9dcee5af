"""The engine of the compiled host: one session as functions over one record.

It does what `runtime/pipeline.py`, `runtime/order_desk.py`, `execution/simulated/venue.py`,
`execution/oms.py` and `portfolio/ledger.py` do together, in the same order, and calls the same
rules. Parity tests hold the two hosts to the same events, byte for byte.
"""

from __future__ import annotations

from onetape.domain.checked import NAMES
from onetape.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderExpired,
    OrderFilled,
    OrderPartiallyFilled,
    OrderReplaced,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderTriggered,
)
from onetape.domain.numbers import (
    INT64_MAX,
    MAX_LOTS,
    compute_ratio_floor,
)
from onetape.domain.orders import DenialCode, OrderStatus
from onetape.domain.rule_compiler import make_compilable, prefetch, record_at
from onetape.execution.simulated.bar_matching import (
    FILL_AT_OPEN,
    FILL_INSIDE,
    NO_FILL,
    WINDOW_NONE,
    WINDOW_WHOLE,
    compute_bar_capacity_lots,
    compute_bar_fill,
    compute_bar_window,
    compute_day_end,
    compute_fill_time,
    compute_liquidity_side,
)
from onetape.execution.simulated.fee_rules import (
    add_month_volume,
    compute_affordable_lots,
    compute_fill_fee,
    compute_volume,
)
from onetape.execution.simulated.latency import compute_latency_ns
from onetape.execution.simulated.slippage import compute_slipped_ticks
from onetape.portfolio.ledger import compute_position_fold
from onetape.risk.gates.buying_power import check_buying_power
from onetape.risk.gates.concentration import check_concentration
from onetape.risk.gates.daily_loss import check_daily_loss
from onetape.risk.gates.drawdown import check_drawdown
from onetape.risk.gates.gross_exposure import check_gross_exposure
from onetape.risk.gates.kill_switch import check_kill_switch
from onetape.risk.gates.net_exposure import check_net_exposure
from onetape.risk.gates.order_notional import check_order_notional
from onetape.risk.gates.order_quantity import check_order_quantity
from onetape.risk.gates.order_rate import check_order_rate
from onetape.risk.gates.position_quantity import check_position_quantity
from onetape.risk.gates.position_ratio import check_position_ratio
from onetape.risk.input import apply_worst_case, compute_worst_lots
from onetape.runtime.compiled.compiling import compiled, inlined
from onetape.runtime.compiled.state import LOG_WIDTH, Engine

globals().update(NAMES)  # what the checked twins of the functions below call

for _rule in (
    add_month_volume, apply_worst_case, check_buying_power, check_concentration,
    check_daily_loss, check_drawdown, check_gross_exposure, check_kill_switch, check_net_exposure,
    check_order_notional, check_order_quantity, check_order_rate, check_position_quantity,
    check_position_ratio, compute_affordable_lots, compute_bar_capacity_lots, compute_bar_fill,
    compute_bar_window, compute_day_end, compute_fill_fee, compute_fill_time, compute_latency_ns,
    compute_liquidity_side, compute_position_fold, compute_ratio_floor, compute_slipped_ticks,
    compute_volume, compute_worst_lots,
):  # fmt: skip
    make_compilable(_rule)

_MARKET, _LIMIT, _STOP, _STOP_LIMIT = range(4)
_GTC, _DAY, _GTD, _IOC, _FOK = range(5)
_LOTS, _TARGET_LOTS, _TARGET_WEIGHT, _NOTIONAL_AT_FILL, _EQUITY_AT_FILL = range(5)
_TAKER = 1
_E8 = 100_000_000

SUBMIT, CANCEL, REPLACE = range(3)
"""Kinds of an intent, a command and a change."""

EVENTS = (
    OrderAccepted, OrderFilled, OrderPartiallyFilled, OrderTriggered, OrderCancelPending,
    OrderCanceled, OrderCancelRejected, OrderReplacePending, OrderReplaced, OrderReplaceRejected,
    OrderExpired,
)  # fmt: skip
"""The events that move an order here, by the numbers they have in the table of moves."""

(
    _ACCEPTED, _FILLED, _PARTIALLY_FILLED, _TRIGGERED, _CANCEL_PENDING, _CANCELED,
    _CANCEL_REJECTED, _REPLACE_PENDING, _REPLACED, _REPLACE_REJECTED, _EXPIRED,
) = range(len(EVENTS))  # fmt: skip

EVENT_COUNT = len(EVENTS)

_S_ACCEPTED = int(OrderStatus.ACCEPTED)
_S_PARTIALLY_FILLED = int(OrderStatus.PARTIALLY_FILLED)
_S_CANCEL_PENDING = int(OrderStatus.CANCEL_PENDING)
_S_REPLACE_PENDING = int(OrderStatus.REPLACE_PENDING)
_S_SUBMITTED = int(OrderStatus.SUBMITTED)
_S_FIRST_CLOSED = int(OrderStatus.FILLED)

(
    LOG_STEP, LOG_STARTED, LOG_DEPOSITED, LOG_STOPPED, LOG_KILL_SWITCH, LOG_INTENT,
    LOG_CANCEL_INTENT, LOG_REPLACE_INTENT, LOG_GATE_DENIED, LOG_DENIED, LOG_APPROVED, LOG_SUBMITTED,
    LOG_CANCEL_PENDING, LOG_REPLACE_PENDING, LOG_ACCEPTED, LOG_FILLED, LOG_PARTIALLY_FILLED,
    LOG_TRIGGERED, LOG_CANCELED, LOG_EXPIRED, LOG_CANCEL_REJECTED, LOG_REPLACED,
    LOG_REPLACE_REJECTED, LOG_POSITION_OPENED, LOG_POSITION_CHANGED, LOG_POSITION_CLOSED,
) = range(26)  # fmt: skip
"""Kinds of the rows of the log, which `event_log.py` reads. LOG_STEP begins a step: its row of the
market or -1, and the newest row that is over or is this one. All others are events."""

LOG_KINDS = 26

CANCELED_REASONS = ("requested", "not filled at once", "the budget buys nothing",
                    "nothing to reduce")  # fmt: skip
_REQUESTED, _NOT_AT_ONCE, _BUYS_NOTHING, _NOTHING_TO_REDUCE = range(4)

REJECTED_CLOSED, REJECTED_BELOW_FILLED = range(2)

DENIALS = (
    DenialCode.NO_MARK, DenialCode.ZERO_QUANTITY, DenialCode.LOT_LIMITS, DenialCode.MIN_NOTIONAL,
    DenialCode.REDUCE_ONLY, DenialCode.NOT_REPLACEABLE, DenialCode.ALREADY_PENDING,
    DenialCode.ORDER_CLOSED, DenialCode.UNKNOWN_ORDER,
)  # fmt: skip
"""What is refused without a gate, by the numbers of the log."""

(
    _NO_MARK, _ZERO_QUANTITY, _LOT_LIMITS, _MIN_NOTIONAL, _REDUCE_ONLY, _NOT_REPLACEABLE,
    _ALREADY_PENDING, _ORDER_CLOSED, _UNKNOWN_ORDER,
) = range(len(DENIALS))  # fmt: skip

(
    GATE_INSTRUMENT, GATE_KILL_SWITCH, GATE_ORDER_QUANTITY, GATE_ORDER_NOTIONAL,
    GATE_POSITION_QUANTITY, GATE_POSITION_RATIO, GATE_CONCENTRATION, GATE_GROSS_EXPOSURE,
    GATE_NET_EXPOSURE, GATE_LEVERAGE, GATE_BUYING_POWER, GATE_DAILY_LOSS, GATE_DRAWDOWN,
    GATE_ORDER_RATE,
) = range(14)  # fmt: skip
GATE_COUNT = 14

_APPROVED = -1
_NOTHING = -2
_DENIED = -3


# The log.


@compiled
def begin_step(engine: Engine, row: int) -> None:
    """What happens from now on is another step: that of a market row, or (-1) of none."""
    if engine.logs:
        engine.step_row = row
        engine.step_newest = engine.row if row < 0 else row
        engine.step_is_new = True


@compiled
def _add_row(engine: Engine, kind: int) -> int:
    if engine.log_count >= engine.log_rows:
        raise MemoryError("the log is full")
    at = engine.log_count * LOG_WIDTH
    engine.log_count += 1
    engine.log[at] = kind
    engine.log[at + 1] = engine.now
    return at + 2


@compiled
def begin_log(engine: Engine, kind: int, slot: int) -> int:
    """Where the fields of a new event begin; `slot` is that of its order, -1 where it has none."""
    if engine.step_is_new:
        engine.step_is_new = False
        at = _add_row(engine, LOG_STEP)
        engine.log[at] = engine.step_row
        engine.log[at + 1] = engine.step_newest
    at = _add_row(engine, kind)
    engine.log[at] = slot
    return at + 1


@compiled
def log_event(
    engine: Engine, kind: int, slot: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0
) -> None:
    """An event with up to four numbers."""
    if engine.logs:
        at = begin_log(engine, kind, slot)
        log = engine.log
        log[at] = a
        log[at + 1] = b
        log[at + 2] = c
        log[at + 3] = d


# Books and marks.


@compiled
def get_instrument(engine: Engine, row: int) -> int:
    """Whose row it is."""
    return 0 if engine.is_single else engine.instrument[row]


@compiled
def ends_slice(engine: Engine, row: int) -> bool:
    """Whether a row is the last of its time."""
    return engine.all_end or engine.slice_end[row] != 0


@compiled
def get_mark(engine: Engine, instrument: int) -> int:
    """Mark in ticks as of the engine's row; 0 before the first bar."""
    if engine.is_single:
        return engine.ticks[engine.row] if engine.row >= 0 else 0
    return engine.mark[instrument]


@compiled
def get_equity(engine: Engine) -> int:
    """Cash plus positions at their marks."""
    if engine.is_single:
        if engine.row < 0:
            return engine.cash
        notional = engine.position_lots[0] * engine.instrument_factor[0]
        return engine.cash + notional * engine.ticks[engine.row]
    return engine.cash + engine.net


@compiled
def add_equity(engine: Engine, equity: int, count: int) -> None:
    """Add `count` slices of one equity to its sum, which has two words."""
    units = equity // _E8
    engine.equity_units += units * count
    engine.equity_rest += (equity - units * _E8) * count


@compiled
def follow_drawdown(
    engine: Engine, first: int, last: int, number: int, count: int, equity: int
) -> None:
    """Take `count` slices of one equity, the first of them `number`, into the deepest drawdown.

    Growth is computed as `compute_growth` does it, and the drawdown as `drawdowns` does. `first`
    and `last` are the rows that end the first and the last slice.
    """
    growth = equity / engine.capital
    if growth >= engine.growth_high:
        engine.growth_high = growth
        engine.high_row = last
        engine.high_slice = number + count - 1
        engine.high_from = equity - (equity >> 50)  # above it growth may be the same float64
        engine.low_equity = equity
        if engine.is_deep_open:
            engine.is_deep_open = False
            engine.deep_end_row = first
            engine.deep_end_slice = number
    elif equity < engine.low_equity:
        engine.low_equity = equity
        below = growth / engine.growth_high - 1.0
        if below < engine.depth:
            engine.depth = below
            engine.deep_high_row = engine.high_row
            engine.deep_high_slice = engine.high_slice
            engine.is_deep_open = True


@inlined
def _take_low(engine: Engine, low: int) -> None:
    """Take the lowest equity of slices that were no high into the deepest drawdown."""
    if low < engine.low_equity:
        follow_drawdown(engine, 0, 0, 0, 1, low)


@compiled
def account_slice(engine: Engine, row: int, gross: int, equity: int) -> None:
    """Take the books at the end of a slice, whose last row is `row`, into the figures."""
    number = engine.slices
    engine.slices = number + 1
    add_equity(engine, equity, 1)
    if engine.held > 0:
        engine.slices_held += 1
    if equity > 0:
        engine.slices_solvent += 1
        engine.exposure_sum += gross / equity
    follow_drawdown(engine, row, row, number, 1, equity)
    if engine.period < engine.periods and engine.period_ends[engine.period] == row:
        engine.period_equity[engine.period] = equity
        engine.period += 1


@compiled
def account_rows(engine: Engine, last: int) -> None:
    """Bring the figures of a session of one instrument up to row `last`, with the books as now.

    What `account_slice` and the watch of the loss gates do at each row, over rows whose position is
    the same.
    """
    first = engine.accounted + 1
    if last < first:
        return
    engine.accounted = last
    each = engine.position_lots[0] * engine.instrument_factor[0]
    if engine.watches:
        _watch_starts(engine, first, last, each)
    if each == 0:
        _account_flat(engine, first, last)
    else:
        _account_held(engine, first, last, each)
    ends = engine.period_ends
    while engine.period < engine.periods and ends[engine.period] <= last:
        ticks = engine.ticks[ends[engine.period]]
        engine.period_equity[engine.period] = engine.cash + each * ticks
        engine.period += 1


@compiled
def _watch_starts(engine: Engine, first: int, last: int, each: int) -> None:
    """Equity before the newest trading session that begins in these rows."""
    starts = engine.session_starts
    while engine.next_session < engine.sessions and starts[engine.next_session] <= last:
        start = starts[engine.next_session]
        engine.next_session += 1
        if start > first:
            engine.session_start_equity = engine.cash + each * engine.ticks[start - 1]
        else:
            engine.session_start_equity = engine.accounted_equity
    engine.accounted_equity = engine.cash + each * engine.ticks[last]


@compiled
def _account_flat(engine: Engine, first: int, last: int) -> None:
    """Rows without a position: all slices are worth the cash."""
    cash = engine.cash
    engine.peak = max(engine.peak, cash)
    count = last - first + 1
    if not engine.all_end:
        ends = engine.slice_end
        start = -1
        stop = -1
        count = 0
        for row in range(first, last + 1):
            if ends[row]:
                start = row if count == 0 else start
                stop = row
                count += 1
        if count == 0:
            return
        first = start
        last = stop
    number = engine.slices
    engine.slices = number + count
    add_equity(engine, cash, count)
    if cash > 0:
        engine.slices_solvent += count
    follow_drawdown(engine, first, last, number, count, cash)


@compiled
def _account_held(engine: Engine, first: int, last: int, each: int) -> None:
    """Rows with a position of `each` minor units a tick."""
    ticks = engine.ticks
    ends = engine.slice_end
    all_end = engine.all_end
    cash = engine.cash
    number = engine.slices
    peak = engine.peak
    exposure = engine.exposure_sum
    high_from = engine.high_from
    low = engine.low_equity
    insolvent = 0
    total = 0
    for row in range(first, last + 1):
        mark = ticks[row]
        notional = each * mark
        equity = cash + notional
        peak = max(peak, equity)
        if not all_end and not ends[row]:
            continue
        total += mark
        if equity > 0:
            exposure += abs(notional / equity)
        else:
            insolvent += 1
        if equity >= high_from:
            _take_low(engine, low)
            follow_drawdown(engine, row, row, number, 1, equity)
            high_from = engine.high_from
            low = engine.low_equity
        low = min(low, equity)
        number += 1
    _take_low(engine, low)
    count = number - engine.slices
    engine.slices = number
    engine.slices_held += count
    engine.slices_solvent += count - insolvent
    engine.exposure_sum = exposure
    engine.peak = peak
    add_equity(engine, cash, count)
    add_equity(engine, each * (total >> 20), 1 << 20)
    add_equity(engine, each * (total & 0xFFFFF), 1)


@compiled
def mark_row(engine: Engine, row: int) -> None:
    """A row of a session of several instruments is known: its mark, and a slice that it ends."""
    instrument = engine.instrument[row]
    ticks = engine.ticks[row]
    lots = engine.position_lots[instrument]
    if lots != 0:
        each = lots * engine.instrument_factor[instrument]
        before = each * engine.mark[instrument]
        after = each * ticks
        engine.net += after - before
        engine.gross += abs(after) - abs(before)
    engine.mark[instrument] = ticks
    engine.last_row[instrument] = row
    engine.row = row
    if ends_slice(engine, row):
        equity = engine.cash + engine.net
        engine.peak = max(engine.peak, equity)
        account_slice(engine, row, engine.gross, equity)


# Orders.


@compiled
def find_order(engine: Engine, number: int) -> int:
    """The slot of an open order; -1 when there is none of that number."""
    for at in range(engine.open_count - 1, -1, -1):
        slot = engine.open_slots[at]
        if engine.order_number[slot] == number:
            return slot
    return -1


@compiled
def get_leaves(engine: Engine, slot: int) -> int:
    """Lots that may still fill, at the worst."""
    lots = engine.order_lots[slot]
    if lots == 0:
        lots = engine.order_estimated[slot]
    return max(lots, engine.order_asked_lots[slot]) - engine.order_filled[slot]


@compiled
def move_order(engine: Engine, slot: int, event: int) -> None:
    """Move an order by the table of moves; a closed one leaves its slot."""
    after = engine.moves[engine.order_status[slot] * EVENT_COUNT + event]
    if after < 0:
        raise RuntimeError("no such move of an order")
    if after == _S_ACCEPTED and engine.order_filled[slot] > 0:
        after = _S_PARTIALLY_FILLED
    engine.order_status[slot] = after
    if after >= _S_FIRST_CLOSED:
        count = engine.open_count
        at = 0
        while engine.open_slots[at] != slot:
            at += 1
        while at < count - 1:
            engine.open_slots[at] = engine.open_slots[at + 1]
            at += 1
        engine.open_slots[count - 1] = slot  # free slots stand behind the open ones
        engine.open_count = count - 1


@compiled
def leave_book(engine: Engine, slot: int) -> None:
    """An order is off the venue's book."""
    engine.order_on_book[slot] = 0
    engine.book_count[engine.order_instrument[slot]] -= 1
    engine.active -= 1


@compiled
def settle_canceled(
    engine: Engine, slot: int, reason: int, wanted: int = 0, found: int = 0
) -> None:  # fmt: skip
    """The venue has taken an order off its book."""
    log_event(engine, LOG_CANCELED, slot, engine.order_number[slot], reason, wanted, found)
    move_order(engine, slot, _CANCELED)


@compiled
def settle_expired(engine: Engine, slot: int) -> None:
    """The venue has ended an order."""
    log_event(engine, LOG_EXPIRED, slot, engine.order_number[slot])
    move_order(engine, slot, _EXPIRED)


@compiled
def settle_fill(
    engine: Engine, slot: int, lots: int, ticks: int, notional: int, fee: int, liquidity: int,
    leaves: int, ts_fill: int,
) -> None:  # fmt: skip
    """A fill: OMS, then books."""
    number = engine.order_number[slot]
    instrument = engine.order_instrument[slot]
    side = engine.order_side[slot]
    if engine.logs:
        kind = LOG_FILLED if leaves == 0 else LOG_PARTIALLY_FILLED
        at = begin_log(engine, kind, slot)
        log = engine.log
        log[at] = number
        log[at + 1] = instrument
        log[at + 2] = side
        log[at + 3] = lots
        log[at + 4] = ticks
        log[at + 5] = notional
        log[at + 6] = fee
        log[at + 7] = liquidity
        log[at + 8] = leaves
        log[at + 9] = ts_fill
    if engine.order_lots[slot] == 0:
        engine.order_lots[slot] = engine.order_filled[slot] + leaves
    move_order(engine, slot, _FILLED if leaves == 0 else _PARTIALLY_FILLED)
    if engine.is_single:
        account_rows(engine, engine.row)
    before = engine.position_lots[instrument]
    cost = engine.position_cost[instrument]
    signed = lots * side
    factor = engine.instrument_factor[instrument]
    after, cost_after, realized = compute_position_fold(before, cost, signed, ticks, factor)
    engine.position_lots[instrument] = after
    engine.position_cost[instrument] = cost_after
    engine.inventory += cost_after - cost
    engine.realized += realized
    engine.fees += fee
    engine.cash -= notional * side + fee
    if engine.cash + engine.inventory + engine.fees != engine.capital + engine.realized:
        raise RuntimeError("the books don't balance")
    if before == 0:
        engine.held += 1
    elif after == 0:
        engine.held -= 1
    if not engine.is_single:
        mark = engine.mark[instrument] * factor
        engine.net += (after - before) * mark
        engine.gross += abs(after * mark) - abs(before * mark)
    engine.position_units[instrument] = get_units(engine, instrument, after)
    if engine.logs:
        kind = LOG_POSITION_CHANGED
        if before == 0:
            kind = LOG_POSITION_OPENED
        elif after == 0:
            kind = LOG_POSITION_CLOSED
        at = begin_log(engine, kind, slot)
        log = engine.log
        log[at] = instrument
        log[at + 1] = after
        log[at + 2] = cost_after
        log[at + 3] = realized
        log[at + 4] = engine.cash
    engine.fills += 1
    whole = notional // _E8
    engine.traded_units += whole
    engine.traded_rest += notional - whole * _E8
    pair_trip(engine, instrument, side, lots, notional, fee, ts_fill)


@compiled
def get_units(engine: Engine, instrument: int, lots: int) -> float:
    """The float64 nearest to the quantity of `lots`."""
    steps = engine.instrument_lots_per_unit[instrument]
    if steps > 0:
        return lots / steps
    return float(lots * engine.instrument_whole_lot[instrument])


@compiled
def take_part(amount: int, part: int, whole: int) -> int:
    """`amount * part // whole` for 0 <= part <= whole, without a product beyond int64."""
    if part == whole:
        return amount
    each = amount // whole
    return each * part + (amount - each * whole) * part // whole


@compiled
def pair_trip(
    engine: Engine, instrument: int, side: int, lots: int, notional: int, fee: int, ts: int
) -> None:
    """Add a fill to the round trip of its instrument; close the trip, and open another."""
    if engine.trip_sign[instrument] == 0:
        engine.trip_sign[instrument] = side
        engine.trip_ts[instrument] = ts
    sign = engine.trip_sign[instrument]
    held = engine.trip_entered[instrument] - engine.trip_exited[instrument]
    closing = held if side != sign and lots >= held else 0
    if closing == 0:
        _add_to_trip(engine, instrument, side, lots, notional, fee)
        return
    part = take_part(notional, closing, lots)
    part_fee = take_part(fee, closing, lots)
    _add_to_trip(engine, instrument, side, closing, part, part_fee)
    gross = sign * (engine.trip_exit_notional[instrument] - engine.trip_entry_notional[instrument])
    net = gross - engine.trip_fees[instrument]
    engine.trips += 1
    engine.trip_net_sum += net
    if net > 0:
        engine.trips_won += 1
        engine.trip_won_sum += net
    elif net < 0:
        engine.trip_lost_sum -= net
    if engine.trips == 1:
        engine.trip_best = net
        engine.trip_worst = net
    engine.trip_best = max(engine.trip_best, net)
    engine.trip_worst = min(engine.trip_worst, net)
    duration = ts - engine.trip_ts[instrument]
    seconds = duration // 1_000_000_000
    engine.trip_seconds += seconds
    engine.trip_nanoseconds += duration - seconds * 1_000_000_000
    engine.trip_sign[instrument] = 0
    engine.trip_entered[instrument] = 0
    engine.trip_exited[instrument] = 0
    engine.trip_entry_notional[instrument] = 0
    engine.trip_exit_notional[instrument] = 0
    engine.trip_fees[instrument] = 0
    if lots > closing:
        engine.trip_sign[instrument] = side
        engine.trip_ts[instrument] = ts
        _add_to_trip(engine, instrument, side, lots - closing, notional - part, fee - part_fee)


@compiled
def _add_to_trip(
    engine: Engine, instrument: int, side: int, lots: int, notional: int, fee: int
) -> None:
    if side == engine.trip_sign[instrument]:
        engine.trip_entered[instrument] += lots
        engine.trip_entry_notional[instrument] += notional
    else:
        engine.trip_exited[instrument] += lots
        engine.trip_exit_notional[instrument] += notional
    engine.trip_fees[instrument] += fee


# The venue.


@inlined
def send_commands(engine: Engine) -> None:
    """What this step wants sent leaves now, and arrives after its latency."""
    size = 2 * engine.slots
    while engine.command_sent < engine.command_count:
        engine.received += 1
        arrival = engine.now
        if not engine.is_instant:
            arrival += compute_latency_ns(engine.latency, engine.received)
            arrival = max(arrival, engine.last_arrival)
            engine.last_arrival = arrival
        if engine.command_sent == engine.command_first:
            engine.next_arrival = arrival
        engine.command_arrival[engine.command_sent & (size - 1)] = arrival
        engine.command_sent += 1
        engine.active += 1


@compiled
def queue_command(engine: Engine, kind: int, number: int, lots: int, limit: int, stop: int) -> None:
    """Put a command behind those of this step."""
    size = 2 * engine.slots
    if engine.command_count - engine.command_first >= size:
        raise MemoryError("too many commands under way")
    at = engine.command_count & (size - 1)
    engine.command_kind[at] = kind
    engine.command_number[at] = number
    engine.command_lots[at] = lots
    engine.command_limit[at] = limit
    engine.command_stop[at] = stop
    engine.command_count += 1


@compiled
def deliver(engine: Engine, ts: int) -> None:
    """Every command that has arrived by `ts` is answered, in steps of one arrival."""
    while engine.next_arrival <= ts:
        until = engine.next_arrival
        engine.now = max(until, engine.now)
        begin_step(engine, -1)
        _arrive(engine, until)


@inlined
def _arrive(engine: Engine, ts: int) -> None:
    size = 2 * engine.slots
    while engine.command_first < engine.command_sent:
        at = engine.command_first & (size - 1)
        arrival = engine.command_arrival[at]
        if arrival > ts:
            break
        engine.command_first += 1
        number = engine.command_number[at]
        kind = engine.command_kind[at]
        slot = find_order(engine, number)
        if kind == SUBMIT:
            engine.order_on_book[slot] = 1
            engine.order_arrival[slot] = arrival
            if engine.order_time_in_force[slot] == _DAY:
                engine.order_rest_expire[slot] = compute_day_end(
                    arrival, _session_close(engine, engine.order_instrument[slot])
                )
            engine.book_count[engine.order_instrument[slot]] += 1
            engine.accepted += 1
            log_event(engine, LOG_ACCEPTED, slot, number, engine.accepted)
            move_order(engine, slot, _ACCEPTED)
            continue
        if slot >= 0 and arrival > _last_close(engine, engine.order_instrument[slot]):
            _wait_for_bar(engine, arrival, kind, number, at, slot)
        else:
            carry_out(
                engine, slot, kind, number, engine.command_lots[at], engine.command_limit[at],
                engine.command_stop[at], arrival,
            )  # fmt: skip
    engine.next_arrival = INT64_MAX
    if engine.command_first < engine.command_sent:
        engine.next_arrival = engine.command_arrival[engine.command_first & (size - 1)]


@compiled
def _last_close(engine: Engine, instrument: int) -> int:
    row = engine.row if engine.is_single else engine.last_row[instrument]
    return engine.ts_close[row] if row >= 0 else -1


@compiled
def _session_close(engine: Engine, instrument: int) -> int:
    row = engine.row if engine.is_single else engine.last_row[instrument]
    return engine.session_close[row] if row >= 0 else -1


@compiled
def _wait_for_bar(engine: Engine, arrival: int, kind: int, number: int, at: int, slot: int) -> None:
    count = engine.change_count
    if count >= engine.slots:
        raise MemoryError("too many changes wait")
    engine.change_arrival[count] = arrival
    engine.change_kind[count] = kind
    engine.change_number[count] = number
    engine.change_lots[count] = engine.command_lots[at]
    engine.change_limit[count] = engine.command_limit[at]
    engine.change_stop[count] = engine.command_stop[at]
    engine.change_count = count + 1
    engine.order_changes[slot] += 1


@compiled
def carry_out(
    engine: Engine, slot: int, kind: int, number: int, lots: int, limit: int, stop: int,
    arrival: int,
) -> None:  # fmt: skip
    """Carry out a cancel or replace, or say why not; `slot` -1: the order is closed."""
    engine.active -= 1
    if slot < 0:
        event = LOG_CANCEL_REJECTED if kind == CANCEL else LOG_REPLACE_REJECTED
        log_event(engine, event, -1, number, REJECTED_CLOSED)
        return
    if kind == CANCEL:
        leave_book(engine, slot)
        settle_canceled(engine, slot, _REQUESTED)
        return
    filled = engine.order_filled[slot]
    if lots <= filled:
        log_event(engine, LOG_REPLACE_REJECTED, slot, number, REJECTED_BELOW_FILLED, filled)
        engine.order_asked_lots[slot] = 0
        engine.order_asked_cost[slot] = 0
        move_order(engine, slot, _REPLACE_REJECTED)
        return
    engine.order_lots[slot] = lots
    engine.order_limit[slot] = limit
    engine.order_stop[slot] = stop
    engine.order_arrival[slot] = arrival
    engine.order_waited[slot] = 0
    engine.order_lot_cost[slot] = engine.order_asked_cost[slot]
    engine.order_asked_lots[slot] = 0
    engine.order_asked_cost[slot] = 0
    log_event(engine, LOG_REPLACED, slot, number, lots, limit, stop)
    move_order(engine, slot, _REPLACED)


@compiled
def answer_changes(engine: Engine, number: int, slot: int, ts: int) -> None:
    """Carry out the changes of an order that have arrived by `ts`."""
    at = 0
    while at < engine.change_count:
        if engine.change_number[at] != number:
            at += 1
            continue
        if engine.change_arrival[at] > ts:
            return
        arrival = engine.change_arrival[at]
        kind = engine.change_kind[at]
        lots = engine.change_lots[at]
        limit = engine.change_limit[at]
        stop = engine.change_stop[at]
        for behind in range(at, engine.change_count - 1):
            engine.change_arrival[behind] = engine.change_arrival[behind + 1]
            engine.change_kind[behind] = engine.change_kind[behind + 1]
            engine.change_number[behind] = engine.change_number[behind + 1]
            engine.change_lots[behind] = engine.change_lots[behind + 1]
            engine.change_limit[behind] = engine.change_limit[behind + 1]
            engine.change_stop[behind] = engine.change_stop[behind + 1]
        engine.change_count -= 1
        engine.order_changes[slot] -= 1
        open_slot = find_order(engine, number)
        carry_out(engine, open_slot, kind, number, lots, limit, stop, arrival)


@compiled
def _next_change(engine: Engine, number: int) -> int:
    """When the oldest waiting change of an order arrived; far in the future without one."""
    for at in range(engine.change_count):
        if engine.change_number[at] == number:
            return engine.change_arrival[at]
    return INT64_MAX


@compiled
def match_row(engine: Engine, row: int) -> None:
    """The book of a row's instrument meets the row."""
    instrument = get_instrument(engine, row)
    tick = engine.instrument_tick[instrument]
    ts_open = engine.ts_open[row]
    ts_close = engine.ts_close[row]
    open_ = engine.open[row]
    high = engine.high[row]
    low = engine.low[row]
    close = engine.close[row]
    reach = engine.limit_reach[instrument]
    met = 0
    changed = 0
    at = 0
    while at < engine.open_count:
        slot = engine.open_slots[at]
        if engine.order_instrument[slot] != instrument or not engine.order_on_book[slot]:
            at += 1
            continue
        number = engine.order_number[slot]
        waiting = engine.order_changes[slot] > 0
        if waiting:
            answer_changes(engine, number, slot, ts_open)
            if engine.order_number[slot] != number or not engine.order_on_book[slot]:
                answer_changes(engine, number, slot, INT64_MAX)
                continue  # the orders behind it have moved up
            waiting = engine.order_changes[slot] > 0
            if waiting:
                changed += 1
        if 0 < engine.order_rest_expire[slot] <= ts_open:
            leave_book(engine, slot)
            settle_expired(engine, slot)
            answer_changes(engine, number, slot, INT64_MAX)
            if waiting:
                changed -= 1
            continue
        at += 1
        window = compute_bar_window(engine.order_arrival[slot], ts_open, ts_close)
        if window == WINDOW_NONE:
            continue
        if engine.order_time_in_force[slot] == _DAY and engine.order_rest_expire[slot] == 0:
            engine.order_rest_expire[slot] = engine.session_close[row]
        kind = engine.order_type[slot]
        side = engine.order_side[slot]
        limit = engine.order_limit[slot]
        stop = engine.order_stop[slot]
        if window == WINDOW_WHOLE:
            code, ticks = compute_bar_fill(
                kind, side, limit, stop, open_, high, low, close, tick, reach
            )
            ts_fill = compute_fill_time(code, ts_open, ts_close)
            rank = 0 if code == FILL_AT_OPEN else 2 if kind == _LIMIT else 1
        else:
            code, ticks = compute_bar_fill(
                kind, side, limit, stop, close, close, close, close, tick, reach
            )
            ts_fill = ts_close
            rank = 3
        if rank > 0:
            ends = 0 < engine.order_rest_expire[slot] < ts_close
            if ends or (waiting and _next_change(engine, number) < ts_close):
                code = NO_FILL  # it ends or changes inside the bar: only the open is surely before
        engine.met_slot[met] = slot
        engine.met_rank[met] = rank
        engine.met_code[met] = code
        engine.met_ticks[met] = ticks
        engine.met_ts[met] = ts_fill
        met += 1
    if met == 0 and changed == 0:
        return
    capacity = INT64_MAX
    if engine.is_capped[instrument]:
        capacity = compute_bar_capacity_lots(
            engine.volume[row], engine.instrument_lot[instrument],
            engine.max_volume_ratio[instrument],
        )  # fmt: skip
    with_changes = changed > 0
    if with_changes:
        changed = _remember_changed(engine, instrument)
    for rank in range(4):
        for entry in range(met):
            if engine.met_rank[entry] == rank:
                capacity = _meet(engine, entry, capacity, row)
    if with_changes:
        _finish_changed(engine, changed, ts_close)


@compiled
def _remember_changed(engine: Engine, instrument: int) -> int:
    """The orders of an instrument whose changes still wait, by number, behind the met ones."""
    count = 0
    size = engine.slots
    for at in range(engine.open_count):
        slot = engine.open_slots[at]
        waits = engine.order_changes[slot] > 0 and engine.order_on_book[slot] != 0
        if waits and engine.order_instrument[slot] == instrument:
            engine.met_slot[size + count] = slot
            engine.met_ts[size + count] = engine.order_number[slot]
            count += 1
    return count


@compiled
def _finish_changed(engine: Engine, changed: int, ts_close: int) -> None:
    """After the bar: changes that have arrived inside it, or whose order is gone."""
    size = engine.slots
    for entry in range(changed):
        slot = engine.met_slot[size + entry]
        number = engine.met_ts[size + entry]
        is_open = find_order(engine, number) >= 0
        answer_changes(engine, number, slot, ts_close if is_open else INT64_MAX)


@inlined
def _meet(engine: Engine, entry: int, capacity: int, row: int) -> int:
    """One order that may use the bar; returns what is left of the capacity."""
    slot = engine.met_slot[entry]
    code = engine.met_code[entry]
    number = engine.order_number[slot]
    time_in_force = engine.order_time_in_force[slot]
    if (time_in_force == _IOC or time_in_force == _FOK) and code != FILL_AT_OPEN:
        leave_book(engine, slot)
        settle_canceled(engine, slot, _NOT_AT_ONCE)
        return capacity
    if code != NO_FILL:
        before = engine.order_filled[slot]
        _execute(engine, slot, code, engine.met_ticks[entry], engine.met_ts[entry], capacity, row)
        capacity -= engine.order_filled[slot] - before
    if engine.order_on_book[slot] and engine.order_number[slot] == number:
        engine.order_waited[slot] += 1
        if 0 < engine.order_rest_expire[slot] <= engine.ts_close[row]:
            leave_book(engine, slot)
            settle_expired(engine, slot)
    return capacity


@compiled
def _execute(
    engine: Engine, slot: int, code: int, ticks: int, ts_fill: int, capacity: int, row: int
) -> None:
    """What becomes of one order in one bar: trigger, fill, cancel of what may not wait."""
    kind = engine.order_type[slot]
    time_in_force = engine.order_time_in_force[slot]
    number = engine.order_number[slot]
    missed = found = 0
    if kind >= _STOP:
        engine.order_type[slot] = _MARKET if kind == _STOP else _LIMIT
        log_event(engine, LOG_TRIGGERED, slot, number, engine.order_stop[slot])
        move_order(engine, slot, _TRIGGERED)
    if code == FILL_AT_OPEN or code == FILL_INSIDE:
        at_fill = engine.order_at_fill[slot] != 0
        wanted = engine.order_lots[slot] - engine.order_filled[slot]
        reducible = INT64_MAX
        if engine.order_reduce_only[slot]:
            held = engine.position_lots[engine.order_instrument[slot]]
            reducible = max(0, -held * engine.order_side[slot])
            capacity = min(capacity, reducible)
        slips = engine.slips[engine.order_instrument[slot]] != 0
        if at_fill or (slips and (kind == _MARKET or kind == _STOP)):
            ticks, wanted = _price(engine, slot, ticks, capacity, row)
            if wanted == 0:
                leave_book(engine, slot)
                settle_canceled(engine, slot, _BUYS_NOTHING)
                return
        lots = min(wanted, capacity)
        if at_fill:
            wanted = lots  # what the bar can't give is not waited for
        if lots < wanted and time_in_force == _FOK:
            missed, found = wanted, lots
            lots = 0
        if lots > 0:
            _fill(engine, slot, kind, code, ticks, ts_fill, lots, wanted - lots)
        is_resting = engine.order_on_book[slot] != 0 and engine.order_number[slot] == number
        if is_resting and lots == reducible:
            leave_book(engine, slot)
            settle_canceled(engine, slot, _NOTHING_TO_REDUCE)
    is_resting = engine.order_on_book[slot] != 0 and engine.order_number[slot] == number
    if is_resting and (time_in_force == _IOC or time_in_force == _FOK):
        leave_book(engine, slot)
        settle_canceled(engine, slot, _NOT_AT_ONCE, missed, found)


@compiled
def _price(engine: Engine, slot: int, ticks: int, capacity: int, row: int) -> tuple[int, int]:
    """Ticks after slippage and lots wanted, sizing an order that is sized at its fill."""
    instrument = engine.order_instrument[slot]
    sized = engine.order_at_fill[slot] == 0
    if sized:
        wanted = engine.order_lots[slot] - engine.order_filled[slot]
    else:
        wanted = _affordable_at(engine, slot, ticks)
    if engine.order_type[slot] != _MARKET:
        return ticks, wanted
    slipped = _slip(engine, slot, ticks, min(wanted, capacity), row)
    if not sized:
        wanted = _affordable_at(engine, slot, slipped)
        most = engine.instrument_max_lots[instrument]
        wanted = min(wanted, most if most > 0 else MAX_LOTS)
        if wanted < engine.instrument_min_lots[instrument]:
            wanted = 0
        slipped = _slip(engine, slot, ticks, min(wanted, capacity), row)
    return slipped, wanted


@compiled
def _slip(engine: Engine, slot: int, ticks: int, lots: int, row: int) -> int:
    instrument = engine.order_instrument[slot]
    quantity = lots * engine.instrument_lot[instrument]
    slippage = record_at(engine.slippages, instrument)
    return compute_slipped_ticks(
        slippage, ticks, engine.order_side[slot], quantity, engine.volume[row]
    )


@compiled
def _affordable_at(engine: Engine, slot: int, ticks: int) -> int:
    """Lots that the budget of an order buys at `ticks`."""
    instrument = engine.order_instrument[slot]
    factor = engine.instrument_factor[instrument]
    budget = engine.order_budget[slot]
    if engine.order_budget_is_ratio[slot]:
        lots = engine.position_lots[instrument]
        mark = get_mark(engine, instrument)
        equity = get_equity(engine) + lots * factor * (ticks - mark)
        budget = compute_ratio_floor(max(equity, 0), budget)
    schedule = record_at(engine.schedules, instrument)
    return compute_affordable_lots(schedule, _TAKER, budget, ticks, factor, 0)


@inlined
def _fill(
    engine: Engine, slot: int, kind: int, code: int, ticks: int, ts_fill: int, lots: int,
    leaves: int,
) -> None:  # fmt: skip
    instrument = engine.order_instrument[slot]
    notional = lots * ticks * engine.instrument_factor[instrument]
    liquidity = compute_liquidity_side(kind, engine.order_waited[slot], code)
    schedule = record_at(engine.schedules, instrument)
    month = 0
    if schedule.tiers > 1:
        volume = compute_volume(schedule, lots, notional)
        month = add_month_volume(engine.month, ts_fill, volume)
    fee = compute_fill_fee(
        schedule, engine.order_side[slot], liquidity, engine.order_filled[slot],
        engine.order_filled_notional[slot], lots, notional, month, ts_fill,
    )  # fmt: skip
    if leaves == 0:
        leave_book(engine, slot)
    # The order's own count moves after the fee: the fee is of what was filled before.
    engine.order_filled[slot] += lots
    engine.order_filled_notional[slot] += notional
    settle_fill(engine, slot, lots, ticks, notional, fee, liquidity, leaves, ts_fill)


# Decisions.


@compiled
def decide(engine: Engine) -> None:
    """Every intent of this step, in order, then the commands leave."""
    for at in range(engine.queued):
        kind = engine.intent_kind[at]
        if kind == SUBMIT:
            _decide_order(engine, at)
        elif kind == CANCEL:
            _decide_cancel(engine, at)
        else:
            _decide_replace(engine, at)
    engine.queued = 0
    send_commands(engine)


@compiled
def _deny(engine: Engine, number: int, code: int, instrument: int, actual: int, limit: int) -> int:
    engine.denied += 1
    if engine.logs:
        at = begin_log(engine, LOG_DENIED, -1)
        log = engine.log
        log[at] = number
        log[at + 1] = code
        log[at + 2] = instrument
        log[at + 3] = actual
        log[at + 4] = limit
    return _DENIED


@inlined
def _decide_order(engine: Engine, at: int) -> None:
    side = engine.intent_side[at]
    lots = engine.intent_amount[at]
    basis = engine.intent_basis[at]
    instrument = engine.intent_instrument[at]
    if basis != _LOTS:
        side, lots = _size(engine, at)
        if side == 0:
            return  # the target is held already: nothing to decide
    number = engine.intent_number[at]
    if engine.logs:
        row = begin_log(engine, LOG_INTENT, -1)
        log = engine.log
        log[row] = number
        log[row + 1] = instrument
        log[row + 2] = engine.intent_side[at]
        log[row + 3] = basis
        log[row + 4] = engine.intent_amount[at]
        log[row + 5] = engine.intent_type[at]
        log[row + 6] = engine.intent_time_in_force[at]
        log[row + 7] = engine.intent_limit[at]
        log[row + 8] = engine.intent_stop[at]
        log[row + 9] = engine.intent_ts_expire[at]
        log[row + 10] = engine.intent_reduce_only[at]
        log[row + 11] = engine.intent_label[at]
    at_fill = basis >= _NOTIONAL_AT_FILL
    verdict = check_risk(
        engine, number, instrument, side, lots, engine.intent_limit[at], engine.intent_stop[at],
        engine.intent_reduce_only[at] != 0, -1, _get_budget(engine, at) if at_fill else 0,
    )  # fmt: skip
    if verdict == _DENIED:
        return
    engine.orders += 1
    log_event(engine, LOG_APPROVED, -1, number, number, side, lots)
    cost = engine.order.notional + engine.order.fee
    lot_cost = cost // lots if at_fill else -(-cost // lots)
    if engine.open_count >= engine.slots:
        raise MemoryError("too many open orders")
    slot = engine.open_slots[engine.open_count]
    engine.open_count += 1
    engine.order_number[slot] = number
    engine.order_instrument[slot] = instrument
    engine.order_side[slot] = side
    engine.order_type[slot] = engine.intent_type[at]
    engine.order_time_in_force[slot] = engine.intent_time_in_force[at]
    engine.order_lots[slot] = 0 if at_fill else lots
    engine.order_limit[slot] = engine.intent_limit[at]
    engine.order_stop[slot] = engine.intent_stop[at]
    engine.order_ts_expire[slot] = engine.intent_ts_expire[at]
    engine.order_reduce_only[slot] = engine.intent_reduce_only[at]
    engine.order_estimated[slot] = lots
    engine.order_lot_cost[slot] = lot_cost
    engine.order_asked_lots[slot] = 0
    engine.order_asked_cost[slot] = 0
    engine.order_status[slot] = _S_SUBMITTED
    engine.order_filled[slot] = 0
    engine.order_filled_notional[slot] = 0
    engine.order_budget[slot] = engine.intent_amount[at] if at_fill else 0
    engine.order_budget_is_ratio[slot] = 1 if basis == _EQUITY_AT_FILL else 0
    engine.order_at_fill[slot] = 1 if at_fill else 0
    engine.order_on_book[slot] = 0
    engine.order_arrival[slot] = 0
    engine.order_rest_expire[slot] = engine.intent_ts_expire[at]
    engine.order_waited[slot] = 0
    engine.order_changes[slot] = 0
    if engine.logs:
        row = begin_log(engine, LOG_SUBMITTED, slot)
        log = engine.log
        log[row] = number
        log[row + 1] = instrument
        log[row + 2] = side
        log[row + 3] = engine.order_type[slot]
        log[row + 4] = engine.order_time_in_force[slot]
        log[row + 5] = engine.order_lots[slot]
        log[row + 6] = engine.order_limit[slot]
        log[row + 7] = engine.order_stop[slot]
        log[row + 8] = engine.order_ts_expire[slot]
        log[row + 9] = engine.order_budget[slot]
        log[row + 10] = engine.order_budget_is_ratio[slot]
        log[row + 11] = engine.order_reduce_only[slot]
    queue_command(engine, SUBMIT, number, 0, 0, 0)


@compiled
def _size(engine: Engine, at: int) -> tuple[int, int]:
    """Side and lots of an intent that is not given in lots; side 0 when its target is held."""
    instrument = engine.intent_instrument[at]
    basis = engine.intent_basis[at]
    amount = engine.intent_amount[at]
    side = engine.intent_side[at]
    mark = get_mark(engine, instrument)
    if mark == 0:
        return side, 0
    if basis != _TARGET_LOTS:
        budget = _get_budget(engine, at)
        schedule = record_at(engine.schedules, instrument)
        factor = engine.instrument_factor[instrument]
        lots = compute_affordable_lots(schedule, _TAKER, budget, mark, factor, 0)
        if basis >= _NOTIONAL_AT_FILL:
            return side, lots
        amount = lots if amount >= 0 else -lots
    held = engine.position_lots[instrument]
    for entry in range(engine.open_count):
        slot = engine.open_slots[entry]
        if engine.order_instrument[slot] == instrument and engine.order_type[slot] == _MARKET:
            held += get_leaves(engine, slot) * engine.order_side[slot]
    if amount == held:
        return 0, 0
    if amount > held:
        return 1, amount - held
    return -1, held - amount


@compiled
def _get_budget(engine: Engine, at: int) -> int:
    """What an intent that names money or a share of the equity may cost with its fee, now."""
    if engine.intent_basis[at] == _NOTIONAL_AT_FILL:
        return engine.intent_amount[at]
    return compute_ratio_floor(max(get_equity(engine), 0), abs(engine.intent_amount[at]))


@compiled
def check_risk(
    engine: Engine, number: int, instrument: int, side: int, lots: int, limit: int, stop: int,
    reduce_only: bool, replaced: int, budget: int,
) -> int:  # fmt: skip
    """What the instrument and every risk gate say; `replaced` (a slot) no longer counts as open.

    `budget` is what a buy that is sized at its fill may cost; else 0.
    """
    mark = get_mark(engine, instrument)
    dearest = limit if limit != 0 else max(mark, stop)
    if side < 0:
        dearest = max(dearest, mark)
    position = engine.position_lots[instrument]
    after = abs(position + lots * side)
    plain = 0 < lots <= MAX_LOTS and after <= MAX_LOTS and dearest != 0
    if not plain or engine.instrument_is_picky[instrument] or reduce_only:
        refusal = _refuse(engine, number, instrument, dearest, side, lots, position, reduce_only)
        if refusal == _DENIED:
            return _DENIED
    factor = engine.instrument_factor[instrument]
    order = engine.order
    notional = lots * dearest * factor
    order.lot_notional = (mark if mark != 0 else dearest) * factor
    order.notional = notional
    schedule = record_at(engine.schedules, instrument)
    order.fee = compute_fill_fee(schedule, side, _TAKER, 0, 0, lots, notional, 0, engine.now)
    if side > 0:
        order.notional = max(notional, budget - order.fee)
    order.ts = engine.now
    order.side_sign = side
    order.lots = lots
    order.reduce_only = reduce_only
    order.position_lots = position
    order.equity = get_equity(engine)
    order.cash = engine.cash
    order.kill_active = engine.kill_active
    if engine.watches:
        if engine.is_single:
            account_rows(engine, engine.row)
        order.peak_equity = engine.peak
        order.session_start_equity = engine.session_start_equity
    if engine.is_single and engine.open_count == 0 and not reduce_only:
        order.open_buy_lots = 0
        order.open_sell_lots = 0
        order.open_buy_notional = 0
    else:
        _add_open_orders(engine, instrument, replaced)
    if not engine.is_single:
        _add_other_instruments(engine, instrument, side, replaced)
    gate = ask_gates(engine, instrument)
    if gate != _APPROVED:
        engine.denied += 1
        if engine.logs:
            _log_gate_denial(engine, number, instrument, gate)
        return _DENIED
    return _APPROVED


@inlined
def _log_gate_denial(engine: Engine, number: int, instrument: int, gate: int) -> None:
    at = begin_log(engine, LOG_GATE_DENIED, -1)
    order = engine.order
    log = engine.log
    log[at] = number
    log[at + 1] = instrument
    log[at + 2] = gate
    log[at + 3] = order.ts
    log[at + 4] = order.side_sign
    log[at + 5] = order.lots
    log[at + 6] = order.lot_notional
    log[at + 7] = order.notional
    log[at + 8] = order.equity
    log[at + 9] = order.cash
    log[at + 10] = order.session_start_equity
    log[at + 11] = order.peak_equity
    log[at + 12] = order.fee
    log[at + 13] = order.position_lots
    log[at + 14] = order.open_buy_notional
    log[at + 15] = order.end_lots
    log[at + 16] = order.end_notional
    log[at + 17] = order.gross_notional
    log[at + 18] = order.net_notional


@compiled
def ask_gates(engine: Engine, instrument: int) -> int:
    """The first gate that refuses `engine.order`; fills its worst case."""
    order = engine.order
    apply_worst_case(order)
    count = engine.instruments
    is_on = engine.gate_is_on
    limit = engine.gate_limit
    at = instrument
    if is_on[at] and not check_order_quantity(order, limit[at]):
        return GATE_INSTRUMENT
    at += count
    if is_on[at] and not check_kill_switch(order, limit[at]):
        return GATE_KILL_SWITCH
    at += count
    if is_on[at] and not check_order_quantity(order, limit[at]):
        return GATE_ORDER_QUANTITY
    at += count
    if is_on[at] and not check_order_notional(order, limit[at]):
        return GATE_ORDER_NOTIONAL
    at += count
    if is_on[at] and not check_position_quantity(order, limit[at]):
        return GATE_POSITION_QUANTITY
    at += count
    if is_on[at] and not check_position_ratio(order, limit[at]):
        return GATE_POSITION_RATIO
    at += count
    if is_on[at] and not check_concentration(order, limit[at]):
        return GATE_CONCENTRATION
    at += count
    if is_on[at] and not check_gross_exposure(order, limit[at]):
        return GATE_GROSS_EXPOSURE
    at += count
    if is_on[at] and not check_net_exposure(order, limit[at]):
        return GATE_NET_EXPOSURE
    at += count
    if is_on[at] and not check_gross_exposure(order, limit[at]):
        return GATE_LEVERAGE
    if not check_buying_power(order, engine.power):
        return GATE_BUYING_POWER
    at += 2 * count
    if is_on[at] and not check_daily_loss(order, limit[at]):
        return GATE_DAILY_LOSS
    at += count
    if is_on[at] and not check_drawdown(order, limit[at]):
        return GATE_DRAWDOWN
    if engine.has_rate and not check_order_rate(order, engine.rate):
        return GATE_ORDER_RATE
    return _APPROVED


@compiled
def _add_open_orders(engine: Engine, here: int, replaced: int) -> None:
    """Add what the strategy has open: in this instrument, and the cash that its buys bind."""
    order = engine.order
    position = engine.position_lots[here]
    buys = 0
    sells = 0
    bound = 0
    to_cover = max(0, -position)
    to_close = max(0, position)
    for at in range(engine.open_count):
        slot = engine.open_slots[at]
        if slot == replaced:
            continue
        leaves = get_leaves(engine, slot)
        buying = engine.order_side[slot] > 0
        reduces = engine.order_reduce_only[slot] != 0
        if buying and not reduces:
            bound += leaves * max(engine.order_lot_cost[slot], engine.order_asked_cost[slot])
        if engine.order_instrument[slot] != here:
            continue
        if reduces:  # takes the position to flat and not beyond
            if buying:
                leaves = min(leaves, to_cover)
                to_cover -= leaves
            else:
                leaves = min(leaves, to_close)
                to_close -= leaves
        if buying:
            buys += leaves
        else:
            sells += leaves
    order.open_buy_lots = buys
    order.open_sell_lots = sells
    order.open_buy_notional = bound
    order.reducible_lots = to_cover if order.side_sign > 0 else to_close


@compiled
def _add_other_instruments(engine: Engine, here: int, side: int, replaced: int) -> None:
    """Fill what the strategy's other instruments could become at their worst."""
    buys = engine.other_buys
    sells = engine.other_sells
    for at in range(engine.open_count):
        slot = engine.open_slots[at]
        if slot == replaced or engine.order_reduce_only[slot]:
            continue
        if engine.order_side[slot] > 0:
            buys[engine.order_instrument[slot]] += get_leaves(engine, slot)
        else:
            sells[engine.order_instrument[slot]] += get_leaves(engine, slot)
    gross = 0
    net = 0
    for name in range(engine.instruments):
        lots = engine.position_lots[name]
        if name == here or (lots == 0 and buys[name] == 0 and sells[name] == 0):
            continue
        mark = engine.mark[name]
        if mark == 0:
            mark = _find_dearest(engine, name)
        price = mark * engine.instrument_factor[name]
        gross += compute_worst_lots(lots, buys[name], sells[name]) * price
        ends = buys[name] if side > 0 else sells[name]
        net += (lots + side * ends) * price
    for at in range(engine.open_count):
        slot = engine.open_slots[at]
        buys[engine.order_instrument[slot]] = 0
        sells[engine.order_instrument[slot]] = 0
    engine.order.other_gross_notional = gross
    engine.order.other_net_notional = net


@compiled
def _find_dearest(engine: Engine, instrument: int) -> int:
    """The highest price (ticks) of the orders in an instrument that has no mark yet."""
    dearest = 0
    for at in range(engine.open_count):
        slot = engine.open_slots[at]
        if engine.order_instrument[slot] == instrument and not engine.order_reduce_only[slot]:
            limit = engine.order_limit[slot]
            dearest = max(dearest, limit if limit != 0 else engine.order_stop[slot])
    return dearest


@compiled
def _refuse(
    engine: Engine, number: int, instrument: int, dearest: int, side: int, lots: int,
    position: int, reduce_only: bool,
) -> int:  # fmt: skip
    """What the instrument itself forbids, whatever the limits of the account."""
    if dearest == 0:
        return _deny(engine, number, _NO_MARK, instrument, 0, 1)
    if lots <= 0:
        return _deny(engine, number, _ZERO_QUANTITY, instrument, lots, 1)
    most = engine.instrument_max_lots[instrument]
    most = min(most, MAX_LOTS) if most > 0 else MAX_LOTS
    if lots > most:
        return _deny(engine, number, _LOT_LIMITS, instrument, lots, most)
    least = engine.instrument_min_lots[instrument]
    if lots < least:
        return _deny(engine, number, _LOT_LIMITS, instrument, lots, least)
    notional = lots * dearest * engine.instrument_factor[instrument]
    if notional < engine.instrument_min_notional[instrument]:
        return _deny(engine, number, _MIN_NOTIONAL, instrument, notional, 0)
    if abs(position + lots * side) > MAX_LOTS:
        return _deny(engine, number, _LOT_LIMITS, instrument, abs(position) + lots, MAX_LOTS)
    if reduce_only and (position * side >= 0 or lots > abs(position)):
        return _deny(engine, number, _REDUCE_ONLY, instrument, lots, -position * side)
    return _APPROVED


@inlined
def _decide_cancel(engine: Engine, at: int) -> None:
    number = engine.intent_number[at]
    target = engine.intent_target[at]
    log_event(engine, LOG_CANCEL_INTENT, -1, number, target)
    slot = find_order(engine, target)
    if slot < 0 or engine.order_status[slot] == _S_CANCEL_PENDING:
        _refuse_change(engine, number, target, slot)
        return
    log_event(engine, LOG_CANCEL_PENDING, slot, target)
    move_order(engine, slot, _CANCEL_PENDING)
    queue_command(engine, CANCEL, target, 0, 0, 0)


@compiled
def _refuse_change(engine: Engine, number: int, target: int, slot: int) -> None:
    code = _UNKNOWN_ORDER
    if slot >= 0:
        code = _ALREADY_PENDING
    elif 0 < target < number:
        code = _ORDER_CLOSED
    _deny(engine, number, code, -1, target, 0)


@inlined
def _decide_replace(engine: Engine, at: int) -> None:
    number = engine.intent_number[at]
    target = engine.intent_target[at]
    limit = engine.intent_limit[at]
    stop = engine.intent_stop[at]
    wanted = engine.intent_amount[at]
    if engine.logs:
        row = begin_log(engine, LOG_REPLACE_INTENT, -1)
        log = engine.log
        log[row] = number
        log[row + 1] = target
        log[row + 2] = wanted
        log[row + 3] = limit
        log[row + 4] = stop
    slot = find_order(engine, target)
    if slot < 0:
        _refuse_change(engine, number, target, slot)
        return
    status = engine.order_status[slot]
    if status == _S_CANCEL_PENDING or status == _S_REPLACE_PENDING:
        _refuse_change(engine, number, target, slot)
        return
    kind = engine.order_type[slot]
    lots = wanted if wanted != 0 else engine.order_lots[slot]
    new_limit = limit if limit != 0 else engine.order_limit[slot]
    new_stop = stop if stop != 0 else engine.order_stop[slot]
    instrument = engine.order_instrument[slot]
    has_limit = kind == _LIMIT or kind == _STOP_LIMIT
    has_stop = kind == _STOP or kind == _STOP_LIMIT
    if (
        engine.order_lots[slot] == 0
        or (limit != 0 and not has_limit)
        or (stop != 0 and not has_stop)
    ):
        _deny(engine, number, _NOT_REPLACEABLE, instrument, kind, 0)
        return
    left = lots - engine.order_filled[slot]
    side = engine.order_side[slot]
    verdict = check_risk(
        engine, number, instrument, side, left, new_limit, new_stop,
        engine.order_reduce_only[slot] != 0, slot, 0,
    )  # fmt: skip
    if verdict == _DENIED:
        return
    engine.orders += 1
    engine.order_asked_lots[slot] = lots
    engine.order_asked_cost[slot] = -(
        -(engine.order.notional + engine.order.fee) // engine.order.lots
    )
    log_event(engine, LOG_APPROVED, -1, number, target, side, left)
    log_event(engine, LOG_REPLACE_PENDING, slot, target, lots, new_limit, new_stop)
    move_order(engine, slot, _REPLACE_PENDING)
    queue_command(engine, REPLACE, target, lots, new_limit, new_stop)


# Steps.


@inlined
def begin_row(engine: Engine, row: int) -> None:
    """Before the strategy sees a row: operators, what is due, then the venue."""
    ts = engine.ts_known[row]
    while engine.next_control < engine.controls:
        control = engine.control_ts[engine.next_control]
        if control > ts:
            break
        control = max(control, engine.now)
        deliver(engine, control - 1)
        engine.now = control
        engine.kill_active = engine.control_active[engine.next_control] != 0
        begin_step(engine, -1)
        log_event(engine, LOG_KILL_SWITCH, -1, engine.next_control)
        engine.next_control += 1
        deliver(engine, control)
    if engine.next_arrival <= ts:
        deliver(engine, ts)
    engine.now = ts
    begin_step(engine, row)
    if engine.watches and not engine.is_single:  # before the fills of the session's first row
        starts = engine.session_starts
        if engine.next_session < engine.sessions and starts[engine.next_session] == row:
            engine.next_session += 1
            engine.session_start_equity = engine.cash + engine.net
    if engine.active > 0 and engine.book_count[get_instrument(engine, row)] > 0:
        match_row(engine, row)
    if engine.is_single:
        engine.row = row
    else:
        mark_row(engine, row)


@inlined
def _expect_row(engine: Engine, row: int) -> None:
    """Orders of this step meet a row soon: its numbers are fetched while they are decided."""
    prefetch(engine.ts_open, row)
    prefetch(engine.ts_close, row)
    prefetch(engine.ts_known, row)
    prefetch(engine.open, row)
    prefetch(engine.high, row)
    prefetch(engine.low, row)
    prefetch(engine.close, row)
    prefetch(engine.ticks, row)


@inlined
def end_row(engine: Engine, row: int) -> None:
    """After the strategy has seen a row: its decisions, then what they make due at once."""
    if engine.queued > 0:
        _expect_row(engine, row + 1)
        engine.now = engine.ts_known[row]
        decide(engine)
    if engine.next_arrival <= engine.now:
        deliver(engine, engine.now)


@compiled
def start(engine: Engine) -> None:
    """Before anything else: the header of the tape, and the capital."""
    begin_step(engine, -1)
    log_event(engine, LOG_STARTED, -1)
    log_event(engine, LOG_DEPOSITED, -1)


@compiled
def finish(engine: Engine) -> None:
    """After the last row: the footer of the tape, and the figures to the end."""
    engine.now = max(engine.now, engine.ts_known[engine.rows - 1])
    begin_step(engine, -1)
    log_event(engine, LOG_STOPPED, -1)
    if engine.is_single:
        account_rows(engine, engine.rows - 1)
