"""Ids in limits that a session does not have: legal in a list that many share, or a mistake.

A desk's list of what may not be traded names more than one session trades, so such ids are told and
not refused. Only limits that leave nothing to trade are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from onetape.domain.errors import ConfigError, FixInput
from onetape.domain.instrument import InstrumentId
from onetape.domain.nearest import did_you_mean
from onetape.runtime.config import RiskConfig, SessionConfig
from onetape.runtime.config_document import ConfigDocument

_NAMED_MAX = 3


def check_limits(config: SessionConfig, document: ConfigDocument) -> list[FixInput]:
    """Limits that allow nothing of what the session has."""
    allowed, instruments = config.risk.allowed_instruments, config.data.instruments
    if allowed is None or not instruments or set(allowed) & set(instruments):
        return []
    return [
        ConfigError(
            "risk.allowed_instruments names none of data.instruments, so nothing may be traded",
            where=document.place_of(("risk", "allowed_instruments")),
            remedy=next(filter(None, (_guess(each, instruments) for each in allowed)), ""),
        )
    ]


def tell_idle(risk: RiskConfig, instruments: Sequence[InstrumentId]) -> list[str]:
    """What limits name and a session has not, a sentence a key; ids near one that it has first."""
    found: list[str] = []
    for key in ("allowed_instruments", "forbidden_instruments"):
        listed: Sequence[InstrumentId] = getattr(risk, key) or ()
        meant = [each for each in instruments if each not in listed]
        idle = {each: _guess(each, meant) for each in listed if each not in instruments}
        if not idle or not instruments:
            continue
        told = [f"{each} ({remedy})" if remedy else each
                for each, remedy in sorted(idle.items(), key=lambda item: not item[1])]  # fmt: skip
        more = f" and {len(told) - _NAMED_MAX:,} more" if len(told) > _NAMED_MAX else ""
        found.append(
            f"risk.{key} names what the session does not trade, and which does nothing there: "
            f"{', '.join(told[:_NAMED_MAX])}{more}"
        )
    return found


def _guess(identity: InstrumentId, known: Sequence[InstrumentId]) -> str:
    """Which of `known` may be meant: its symbol is like it, and not only its venue."""
    return did_you_mean(
        identity, [each for each in known if did_you_mean(_symbol(identity), [_symbol(each)])]
    )


def _symbol(identity: InstrumentId) -> str:
    return identity.rpartition(".")[0]
