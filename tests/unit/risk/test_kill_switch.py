from __future__ import annotations

from onetape.domain.events import KillSwitchSet
from onetape.risk.kill_switch import KillSwitch


def test_kill_switch_starts_off_and_follows_control_events() -> None:
    switch = KillSwitch()
    assert not switch.active
    switch.apply(KillSwitchSet(True, "fat finger"))
    assert (switch.active, switch.reason) == (True, "fat finger")
    switch.apply(KillSwitchSet(False, "checked"))
    assert (switch.active, switch.reason) == (False, "checked")
