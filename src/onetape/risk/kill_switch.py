"""The kill switch: an operator, or a breaker, stops everything that is not reducing."""

from __future__ import annotations

from onetape.domain.events import KillSwitchSet


class KillSwitch:
    """Whether the switch is set, and why: the fold of the session's control events."""

    __slots__ = ("active", "reason")

    def __init__(self) -> None:
        self.active = False
        self.reason = ""

    def apply(self, event: KillSwitchSet) -> None:
        """Takes over what the control event says."""
        self.active = event.active
        self.reason = event.reason
