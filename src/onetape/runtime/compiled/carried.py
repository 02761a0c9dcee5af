"""What of a session the compiled host does not carry: one table."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.market import TradingStatus
from onetape.execution.simulated.fill_terms import FillTerms
from onetape.execution.simulated.slippage import SlippageTerms
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.timeline import Timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.session_spec import StrategySpec

_IN_PYTHON = "run it in the Python host"


class _Missing(NamedTuple):
    """One thing: whether the session has it, how to call it, its key, and what to do."""

    is_there: bool
    what: str
    where: str
    remedy: str = _IN_PYTHON


def check_carried(
    timeline: Timeline, spec: StrategySpec, terms: VenueTerms, limits: RiskLimits
) -> None:
    """Refuse a session that compiled code can't run.

    Raises:
        ConfigError: The first thing that it has and compiled code does not.
    """
    if spec.instruments is not None and spec.instruments != tuple(
        each.id for each in timeline.instruments
    ):
        raise ConfigError(
            f"strategy {spec.name} trades a part of the session's instruments",
            remedy="the compiled host needs data.instruments to be those of the strategy",
        )
    for each in _list_missing(timeline, spec, terms, limits):
        if each.is_there:
            raise ConfigError(
                f"{each.what}, which the compiled host does not carry",
                where=each.where,
                remedy=each.remedy,
            )
    if spec.capital <= 0:
        raise ConfigError(f"strategy {spec.name} has no capital")


def _list_missing(
    timeline: Timeline, spec: StrategySpec, terms: VenueTerms, limits: RiskLimits
) -> Iterator[_Missing]:
    has = "the session has"
    yield from (
        _Missing(
            bool(timeline.actions), f"{has} corporate actions", "data.corporate_actions"
        ),
        _Missing(timeline.universe is not None, f"{has} a universe", "data.universe"),
        _Missing(
            terms.routes is not None, f"{has} latency by order", "execution.latency",
            f"give mean_ms and std_ms without a model, or {_IN_PYTHON}",
        ),
        _Missing(
            terms.limit_slippage
            and any(terms.slippage_of(each.id) != SlippageTerms() for each in timeline.instruments),
            f"{has} slippage of limit orders", "execution.limit_slippage",
        ),
        _Missing(
            len(_list_counting(timeline, terms)) > 1,
            f"{has} several fee models that count the volume of a month", "execution.overrides",
        ),
        _Missing(
            bool(limits.beyond_gates), f"{has} risk.{limits.beyond_gates}",
            f"risk.{limits.beyond_gates}",
        ),
        _Missing(
            any(isinstance(each, TradingStatus) for each in timeline.steps),
            f"{has} trading halts", "data.halts",
        ),
    )  # fmt: skip
    for each in timeline.instruments:
        yield _Missing(each.is_contract, f"{each.id} is a {each.kind.value}", "data.instruments")
    yield from (
        _Missing(terms.margin is not None, f"{has} margin", "execution.margin"),
        _Missing(
            timeline.kind not in ("bars", "trades"), f"the session runs on {timeline.timeframe}",
            "data.timeframe",
        ),
    )  # fmt: skip
    for name, fill in terms.fills.items():
        told = _describe_fill(fill, FillTerms(limit_reach=fill.limit_reach))
        yield _Missing(bool(told), f"{name} fills with {told}", "execution.fill")
    yield from (
        _Missing(
            terms.carrying is not None, f"{has} borrow fees or interest", "execution.carrying"
        ),
        _Missing(
            terms.has_legs, "the session holds long and short legs side by side",
            "execution.position_mode",
        ),
        _Missing(
            terms.marks_closing_side, "the session marks positions at bid and ask",
            "execution.marks",
        ),
        _Missing(
            bool(terms.settlement_days), f"{has} sales that settle later",
            "execution.settlement_days",
        ),
        _Missing(
            terms.capabilities is not None, "the session emulates orders that its venue lacks",
            "execution.capabilities",
        ),
        _Missing(bool(terms.transfers), f"{has} transfers of capital", "execution.transfers"),
        _Missing(
            any(each.settlement_currency != spec.currency for each in timeline.instruments),
            "the session trades in several currencies", "execution.currencies",
        ),
    )  # fmt: skip


def _list_counting(timeline: Timeline, terms: VenueTerms) -> list[str]:
    """The fee groups that count what was traded in a month."""
    counting = (each.id for each in timeline.instruments if terms.fees[each.id].tiers > 1)
    return list(dict.fromkeys(terms.fee_groups.get(each, "") for each in counting))


def _describe_fill(fill: FillTerms, plain: FillTerms) -> str:
    """In what a fill model differs from the plain one."""
    return ", ".join(
        f"{name} {value.name.lower() if isinstance(value, IntEnum) else value}"
        for name, value in msgspec.structs.asdict(fill).items()
        if value != getattr(plain, name)
    )
