"""What the gates look at: one order, and the books it would meet at their worst."""

from __future__ import annotations

import msgspec

from onetape.domain.instrument import Instrument
from onetape.domain.orders import OrderIntent
from onetape.domain.rules import rule


class RiskInput(msgspec.Struct, kw_only=True):
    """One order before the gates, where they are asked one by one; `gate_row.py` asks them at once.

    Everything but the first three fields is a scalar, so the rules read it in both hosts. Money is
    minor units, quantities lots. "Worst case" of an instrument is its position after every open
    order of one side has filled and none of the other. A reduce-only order counts toward flat and
    not beyond: it can clear the way for what is open beside it.

    | field                  | meaning                                                          |
    | ---------------------- | ---------------------------------------------------------------- |
    | `ts`                   | engine time, ns UTC                                              |
    | `side_sign`            | +1 buy, -1 sell                                                  |
    | `lots`                 | lots to trade, positive; the estimate where the venue sizes      |
    | `reduce_only`          | the venue never lets it take the position beyond flat            |
    | `reducible_lots`       | what is left of the position for a reduce-only order when the    |
    |                        | open reduce-only orders of its side have filled                  |
    | `lot_notional`         | one lot at the mark, positive                                    |
    | `notional`             | the most that `lots` can cost: at a buy's limit, else at the     |
    |                        | larger of mark and the order's own price; a buy that is sized at |
    |                        | its fill can cost all of its money                               |
    | `fee`                  | estimated fee                                                    |
    | `position_lots`        | signed position of the strategy in the instrument                |
    | `open_buy_lots`,       | leaves of the strategy's open orders in the instrument, positive |
    | `open_sell_lots`       |                                                                  |
    | `other_gross_notional` | sum over the strategy's other instruments of the larger of their |
    |                        | two worst cases, at the marks                                    |
    | `other_net_notional`   | signed sum over the other instruments, their open orders of this |
    |                        | order's side filled, at the marks                                |
    | `equity`, `cash`       | of the strategy, at the marks                                    |
    | `open_buy_notional`    | cash bound by the strategy's open buy orders, all instruments    |
    | `session_start_equity` | equity at the start of the trading day                           |
    | `peak_equity`          | highest equity so far                                            |
    | `kill_active`          | the kill switch is set                                           |
    | `margin_needed`        | on margin: initial margin of everything at its worst             |
    | `margin_power`         | what may back it                                                 |
    | `currency_needed`      | where foreign cash is held: notional and fee in the currency of  |
    |                        | the instrument                                                   |
    | `currency_free`        | cash in that currency that no open buy has bound                 |

    `apply_worst_case` fills the rest. In the direction of the order (positive: the way it trades):
    `end_lots` and `end_notional`, the position after it and every open order of its side;
    `net_notional`, the net of all instruments then; and without direction `gross_notional`.
    `equity_units` is equity in whole currency units: times a ratio it is never more than that ratio
    of equity, so the gates try it first and compute the exact limit only when it is near. An
    order with `end_lots <= 0` is *reducing*: it brings the position toward flat and not beyond,
    also if everything open on its side fills first.
    """

    intent: OrderIntent
    instrument: Instrument
    client_order_id: str
    ts: int
    side_sign: int
    lots: int
    lot_notional: int
    notional: int
    equity: int
    cash: int
    session_start_equity: int
    peak_equity: int
    reduce_only: bool = False
    reducible_lots: int = 0
    fee: int = 0
    position_lots: int = 0
    open_buy_lots: int = 0
    open_sell_lots: int = 0
    other_gross_notional: int = 0
    other_net_notional: int = 0
    open_buy_notional: int = 0
    kill_active: bool = False
    margin_needed: int = 0
    margin_power: int = 0
    currency_needed: int = 0
    currency_free: int = 0
    end_lots: int = 0
    end_notional: int = 0
    gross_notional: int = 0
    net_notional: int = 0
    equity_units: int = 0


@rule
def compute_worst_lots(position_lots: int, open_buy_lots: int, open_sell_lots: int) -> int:
    """The larger of an instrument's two worst cases, in lots without sign. Ours."""
    return max(abs(position_lots + open_buy_lots), abs(position_lots - open_sell_lots))


@rule
def apply_worst_case(order: RiskInput) -> None:
    """Fills the derived fields from the other fields. Ours."""
    side_sign = order.side_sign
    end = side_sign * order.position_lots
    if order.reduce_only:
        end += min(order.lots, order.reducible_lots)
    else:
        end += order.lots
    if side_sign > 0:
        end += order.open_buy_lots
    else:
        end += order.open_sell_lots
    end_notional = end * order.lot_notional
    order.end_lots = end
    order.end_notional = end_notional
    order.gross_notional = order.other_gross_notional + abs(end_notional)
    order.net_notional = side_sign * order.other_net_notional + end_notional
    order.equity_units = order.equity // 100_000_000
