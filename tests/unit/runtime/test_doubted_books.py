"""Until the venue's books are seen to be ours nothing opens, whatever the first look has seen."""

from __future__ import annotations

from onetape.domain.venue import ConnectionChanged, ConnectionPart
from tests.unit.runtime.test_closing_at_venue import Rests, Venue


def come_back(venue: Venue) -> None:
    """The venue is there again."""
    for is_up in (False, True):
        change = ConnectionChanged(ConnectionPart.VENUE, "FAKE", is_up=is_up, reason="test")
        venue.session.take(change, venue.now())


def test_venue_that_comes_back_with_other_books_lets_nothing_open_at_any_look() -> None:
    venue = Venue(Rests())
    come_back(venue)
    venue.lots = 7  # somebody has traded meanwhile
    states: list[str] = []
    for _ in range(3):
        venue.look()
        states.append(venue.session.state_of("s"))
        assert not venue.bar()
    assert states == ["paused", "paused", "paused"]


def test_venue_that_comes_back_with_our_books_trades_after_the_first_look() -> None:
    venue = Venue(Rests())
    come_back(venue)
    venue.look()
    assert venue.session.state_of("s") == "running"
    assert venue.bar()


def test_difference_under_way_ends_the_doubt_when_it_is_gone() -> None:
    venue = Venue(Rests())
    come_back(venue)
    venue.lots = 7
    venue.look()
    venue.lots = 0
    venue.look()
    assert venue.session.state_of("s") == "running"


def test_regular_look_that_meets_something_under_way_pauses_nothing() -> None:
    venue = Venue(Rests())
    venue.lots = 7
    venue.look()
    assert venue.session.state_of("s") == "running"
    venue.look()
    assert venue.session.state_of("s") == "paused"
