"""A live session at a local TWS whose process is killed anywhere loses nothing.

`ONETAPE_KILLS` says how many sessions are killed (`make soak`: 500), `ONETAPE_FIRST_SEED` which
seed comes first. A failure prints its seed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.test_killed_session import (
    BARS,
    Decisions,
    choose_points,
    decide_uninterrupted,
    read_decisions,
    run_killed,
)
from tests.support.mortal_sessions import install, run_to_end
from tests.support.seeds import draw_seeds

KILLS = draw_seeds("ONETAPE_KILLS", 3)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Decisions:
    """What a session decides that nobody kills, over more bars than any other one hears."""
    return decide_uninterrupted(tmp_path_factory.mktemp("whole"), "ibkr")


@pytest.mark.parametrize("seed", KILLS)
def test_session_that_is_killed_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: Decisions, seed: int
) -> None:
    install(monkeypatch)
    points = choose_points(seed)
    print(f"seed {seed}, killed at {points}")
    session = run_to_end(run_killed(tmp_path, seed, points, venue="ibkr"))
    decided = read_decisions(session.run_dir)
    assert len(decided) >= BARS
    assert decided == {bar: uninterrupted[bar] for bar in decided}
