"""Pace, repetition and the headers that ask for them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError, SourceUnavailable
from onetape.domain.timestamps import from_iso
from onetape.marketdata.sources.requester import (
    Pace,
    TokenBucket,
    read_retry_after,
    read_server_time,
)
from tests.support.pulls import FakeTime, make_requester

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"  # the example of RFC 9110 section 5.6.7


def fail(times: int, retry_after_s: float = 0.0):
    left = [times]

    def request() -> str:
        if left[0] > 0:
            left[0] -= 1
            raise SourceUnavailable("away", retry_after_s=retry_after_s)
        return "answer"

    return request


@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=60),
    st.integers(1, 6),
    st.sampled_from([6.0, 60.0, 600.0]),
)
@settings(max_examples=50)
def test_bucket_never_lets_more_through_than_burst_and_rate(
    gaps: list[float], burst: int, per_minute: float
) -> None:
    bucket, now, sent = TokenBucket(per_minute, burst, 0.0), 0.0, []
    for gap in gaps:
        now += gap
        now += bucket.take(now)
        sent.append(now)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            allowed = burst + (sent[last] - sent[first]) * per_minute / 60
            assert last - first + 1 <= allowed + 1e-6


def test_bucket_lets_a_burst_through_at_once_and_then_keeps_the_rate() -> None:
    time = FakeTime()
    ask = make_requester(Pace(per_minute=60, burst=3), time)
    for _ in range(6):
        ask(lambda: None)
    assert time.slept == [1.0, 1.0, 1.0]


def test_requester_takes_the_providers_limit_unless_told_another() -> None:
    for asked, seconds in ((None, 6.0), (600.0, 0.1)):
        time = FakeTime()
        ask = make_requester(Pace(per_minute=asked, burst=1), time)
        ask.suggest(10)
        ask(lambda: None)
        ask(lambda: None)
        assert time.slept == [pytest.approx(seconds)]


def test_requester_waits_twice_as_long_after_each_failure_up_to_the_longest() -> None:
    time = FakeTime()
    pace = Pace(per_minute=1e9, burst=99, attempts=6, first_wait_s=1, longest_wait_s=5)
    assert make_requester(pace, time)(fail(5)) == "answer"
    assert time.slept == [1, 2, 4, 5, 5]


def test_requester_gives_up_after_its_attempts_and_says_what_to_do() -> None:
    time = FakeTime()
    with pytest.raises(SourceUnavailable, match=r"^away \(asked 3 times\) \(try later\)$"):
        make_requester(Pace(per_minute=1e9, attempts=3), time)(fail(99))
    assert len(time.slept) == 2


def test_requester_waits_as_long_as_it_is_asked() -> None:
    time = FakeTime()
    make_requester(Pace(per_minute=1e9), time)(fail(1, retry_after_s=17))
    assert time.slept == [17]


def test_requester_does_not_wait_for_a_ban() -> None:
    time = FakeTime()
    with pytest.raises(SourceUnavailable, match="asks to wait 259,200 s"):
        make_requester(Pace(per_minute=1e9), time)(fail(1, retry_after_s=259_200))
    assert time.slept == []


def test_requester_does_not_repeat_what_can_not_help() -> None:
    calls = []

    def request() -> None:
        calls.append(1)
        raise DataError("unknown symbol")

    with pytest.raises(DataError):
        make_requester()(request)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"Retry-After": "120"}, 120),
        ({"retry-after": " 5 "}, 5),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": DATE}, 30),
        ({"Retry-After": "Wed, 21 Oct 2015 07:27:30 GMT", "Date": DATE}, 0),
        ({"Retry-After": "soon"}, 0),
        ({"X-RateLimit-Reset": "1445412490", "Date": DATE}, 10),
        ({"X-RateLimit-Reset": "1445412490"}, 0),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_date_or_reset(
    headers: dict[str, str], seconds: float
) -> None:
    assert read_retry_after(headers) == seconds


def test_server_time_is_that_of_the_date_header() -> None:
    assert read_server_time({"date": DATE}) == from_iso("2015-10-21T07:28:00Z")
    assert read_server_time({"Date": "yesterday"}) is None
    assert read_server_time({}) is None
