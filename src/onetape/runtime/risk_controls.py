"""What a session asks of risk beyond the gates of each strategy: the account, and shrinking.

It also shows gates what an order alone does not tell (the uptick rule, day trades, who is in the
universe).

A session without any of it has no `RiskControls`, and its orders take the quick way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.events import OrderDenied, OrderFilled
from onetape.domain.instrument import Instrument
from onetape.domain.legs import index_of, market_of
from onetape.domain.orders import DenialCode
from onetape.execution.oms import Oms
from onetape.marketdata.membership import Membership
from onetape.risk.account import AccountRisk
from onetape.risk.approval import RiskApproved, RiskEngine
from onetape.risk.gates.day_trades import DayTradeGate
from onetape.risk.gates.membership import MembershipGate
from onetape.risk.gates.order_rate import OrderRate
from onetape.risk.gates.uptick import UptickGate
from onetape.risk.input import RiskInput, compute_worst_lots
from onetape.risk.limits import RiskLimits, build_account_gates, find_shrinking
from onetape.risk.shrinking import Shrinking
from onetape.runtime.day_trade_watch import DayTradeWatch, DayTradeWatchState
from onetape.runtime.equity_watch import EquityWatch, EquityWatchState
from onetape.runtime.market_state import MarketState
from onetape.runtime.order_claims import compute_lot_notional, sum_leaves
from onetape.runtime.runner import Runner
from onetape.runtime.step_log import StepLog
from onetape.runtime.uptick_watch import UptickWatch, UptickWatchState

BREAKERS = "breakers"
"""Who pauses when a circuit breaker has tripped."""


class RiskControlsState(msgspec.Struct, frozen=True, kw_only=True):
    """What `RiskControls` remember between two steps."""

    account_rate: OrderRate | None = None
    account_watch: EquityWatchState | None = None
    uptick: UptickWatchState | None = None
    day_trades: DayTradeWatchState | None = None
    pauses: dict[str, list[str]] = {}


class RiskControls:
    """Puts an order before the gates of account and strategy, and shrinks it where that is on.

    Attributes:
        shrinks: Refusals that shrink an order instead.
        paused: Strategies that may only reduce what they hold, whoever has paused them.
    """

    __slots__ = (
        "_account", "_currencies", "_day_trade_gate", "_day_trades", "_engines", "_index", "_log",
        "_market", "_oms", "_pauses", "_runners", "_universe", "_uptick", "_watch", "paused",
        "shrinks",
    )  # fmt: skip

    def __init__(
        self,
        limits: RiskLimits,
        log: StepLog,
        market: MarketState,
        oms: Oms,
        instruments: Sequence[Instrument],
        runners: Mapping[str, Runner],
        watch: EquityWatch | None,
        engines: Mapping[str, RiskEngine] | None = None,
        uptick: UptickWatch | None = None,
        universe: Membership | None = None,
    ) -> None:
        """Begin without a count.

        Args:
            limits: What is asked.
            log: Where what shrinks is told.
            market: Where the marks come from.
            oms: The open orders.
            instruments: Those of the timeline, in its order.
            runners: The strategies.
            watch: Peak and session-start equity of the account; None when no gate asks for them.
            engines: The gates of each strategy; None: those that it has.
            uptick: When the uptick rule is in force; None when no gate asks for it.
            universe: Who is in it; None when no gate asks for it.

        Raises:
            ConfigError: A limit is none, or of the losses of the account while a strategy holds
                several currencies.
        """
        self._log = log
        self._market = market
        self._oms = oms
        self._index = index_of(instruments)
        self._runners = runners
        self._watch = watch
        self._engines = engines or {}
        self._uptick = uptick
        self._universe = universe
        gates = build_account_gates(limits.account)
        foreign = [each.name for each in runners.values() if each.exchange is not None]
        if limits.account.watches and foreign:
            raise ConfigError(
                f"strategy {foreign[0]} holds several currencies, and losses of the account are "
                "watched in one",
                where="risk.account",
                remedy="trade one currency, or leave its max_daily_loss_pct and max_drawdown_pct "
                "out",
            )
        self._currencies = {each.id: each.settlement_currency for each in instruments}
        self._account = AccountRisk(gates) if gates else None
        day_trade_gates = (each for each in gates if isinstance(each, DayTradeGate))
        self._day_trade_gate = next(day_trade_gates, None)
        self._day_trades = DayTradeWatch(log, market, oms, instruments, runners)
        self.shrinks = find_shrinking(limits)
        self.paused: frozenset[str] = frozenset()
        self._pauses: dict[str, frozenset[str]] = {}

    def pause(self, by: str, strategies: frozenset[str]) -> None:
        """From now on `by` pauses these strategies, and no others."""
        self._pauses[by] = strategies
        self.paused = frozenset().union(*self._pauses.values())

    def pausers(self, strategy: str) -> list[str]:
        """Who pauses a strategy, in the order of the alphabet."""
        return sorted(by for by, each in self._pauses.items() if strategy in each)

    def code_of_pause(self, strategy: str) -> DenialCode:
        """What an order is told that a pause refuses."""
        is_breaker = strategy in self._pauses.get(BREAKERS, ())
        return DenialCode.BREAKER if is_breaker else DenialCode.PAUSED

    def save(self) -> RiskControlsState:
        """What they remember."""
        return RiskControlsState(
            account_rate=self._account.save() if self._account is not None else None,
            account_watch=self._watch.save() if self._watch is not None else None,
            uptick=self._uptick.save() if self._uptick is not None else None,
            day_trades=self._day_trades.save() if self._day_trade_gate is not None else None,
            pauses={by: sorted(each) for by, each in self._pauses.items() if by != BREAKERS},
        )

    def restore(self, state: RiskControlsState) -> None:
        """Go on where `state` was saved."""
        if self._account is not None:
            self._account.restore(state.account_rate)
        if self._watch is not None and state.account_watch is not None:
            self._watch.restore(state.account_watch)
        if self._uptick is not None and state.uptick is not None:
            self._uptick.restore(state.uptick)
        for by, strategies in state.pauses.items():
            self.pause(by, frozenset(strategies))
        if state.day_trades is not None:
            self._day_trades.restore(state.day_trades)

    def hear(self, fill: OrderFilled, *, is_first: bool) -> None:
        """A fill that the books have not followed yet; `is_first`: of its order."""
        if self._day_trade_gate is not None:
            self._day_trades.hear(fill, is_first=is_first)

    def adjust_mark(self, index: int, ticks: int) -> None:
        """A corporate action has made `ticks` the mark of the instrument at `index`."""
        if self._uptick is not None:
            self._uptick.adjust_mark(index, ticks)

    def decide(
        self, runner: Runner, order: RiskInput, shrinking: Shrinking | None
    ) -> RiskApproved | OrderDenied:
        """The verdict on `order`; what shrinks it goes into the step, caused by the intent."""
        verdict = self.judge(runner, order, shrinking)
        if shrinking is not None:
            log = self._log
            cause = log.first_seq + len(log.events) - 1
            for step in shrinking.steps:
                log.emit(step, log.origin, cause)
        return verdict

    def judge(
        self, runner: Runner, order: RiskInput, shrinking: Shrinking | None
    ) -> RiskApproved | OrderDenied:
        """The verdict on `order`, of which nothing is told."""
        of_account = order
        if self._account is not None:
            of_account = self._sum(runner, order)
            if self._day_trade_gate is not None:
                self._day_trades.show(order, self._day_trade_gate.count)
        engine = self._engines.get(runner.name, runner.risk)
        if self._uptick is not None:
            for gate in engine.gates:
                if isinstance(gate, UptickGate):
                    quote = gate.limit_for(order.instrument)
                    if quote is not None:
                        self._uptick.show(order, quote)
        if self._universe is not None:
            is_member = self._universe.is_member(market_of(order.instrument.id), order.ts)
            for gate in engine.gates:
                if isinstance(gate, MembershipGate):
                    gate.limit_for(order.instrument).is_member = is_member
        return engine.decide(order, self._account, of_account, shrinking)

    def _sum(self, runner: Runner, order: RiskInput) -> RiskInput:
        """`order` with equity, peak and other exposures of the account."""
        gross, net = order.other_gross_notional, order.other_net_notional
        equity = 0
        for each in self._runners.values():
            each.valuation.refresh()
            equity += each.valuation.equity
            if each is not runner:
                its_gross, its_net = self._worst_exposure(each, order.side_sign)
                gross += its_gross
                net += its_net
        peak = session_start = 0
        if self._watch is not None:
            self._watch.advance()
            peak, session_start = self._watch.peak, self._watch.session_start
        return msgspec.structs.replace(
            order, equity=equity, peak_equity=peak, session_start_equity=session_start,
            other_gross_notional=gross, other_net_notional=net,
        )  # fmt: skip

    def _worst_exposure(self, runner: Runner, side_sign: int) -> tuple[int, int]:
        """Gross and net notional of a strategy at their worst, as `RiskInput` says of others."""
        gross, net = runner.valuation.gross, runner.valuation.net
        buys, sells = sum_leaves(self._oms.open.values(), runner.name)
        ends = buys if side_sign > 0 else sells
        for name in {**buys, **sells}:
            position = runner.ledger.positions[name]
            mark = self._market.mark_ticks(self._index[name])
            price = compute_lot_notional(runner, name, mark, self._oms.open.values())
            if runner.exchange is not None:
                price = -runner.exchange.to_home(self._currencies[name], -price)
            worst = compute_worst_lots(position.lots, buys.get(name, 0), sells.get(name, 0))
            gross += (worst - abs(position.lots)) * price
            net += side_sign * ends.get(name, 0) * price
        return gross, net


def name_pause(verdict: RiskApproved | OrderDenied, code: DenialCode) -> RiskApproved | OrderDenied:
    """A refusal by the kill switch that is not set: something else pauses the strategy."""
    if isinstance(verdict, OrderDenied) and verdict.code is DenialCode.KILL_SWITCH:
        return msgspec.structs.replace(verdict, code=code)
    return verdict
