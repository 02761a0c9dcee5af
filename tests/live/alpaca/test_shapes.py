"""The local venue's JSON has the shapes of the shared examples, which follow the documentation."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgpack
import pytest
import requests
import websockets

from onetape.domain.orders import OrderType
from tests.support.alpaca_venue import AAPL, KEY, SECRET, LocalAlpaca, local_alpaca
from tests.support.shared_data import SHARED, needs_shared

pytestmark = needs_shared
HEADERS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}


@pytest.fixture(scope="module")
def shapes() -> dict[str, Any]:
    path = SHARED / "protocol" / "alpaca" / "shape_examples.json"
    return json.loads(path.read_text(encoding="utf-8"))


def shape(value: Any) -> Any:
    """Names and kinds: an object by its fields, anything else by its JSON type."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


def agree(ours: Any, example: Any, *, without: frozenset[str] = frozenset()) -> None:
    """Same fields, and the same kinds where neither is null."""
    assert set(ours) - without == set(example) - without
    for name in set(example) - without:
        mine, theirs = shape(ours[name]), shape(example[name])
        if "NoneType" in (mine, theirs) or isinstance(mine, dict | list):
            continue
        assert mine == theirs, name


async def ask(world: LocalAlpaca, path: str, **settings: Any) -> Any:
    def get() -> Any:
        return requests.get(
            world.server.rest_url + path, headers=HEADERS, timeout=30, **settings
        ).json()

    return await asyncio.to_thread(get)


def test_rest_answers_have_the_shapes(shapes: dict[str, Any]) -> None:
    async def run() -> None:
        rest = shapes["rest"]
        async with local_alpaca() as world:
            await world.submit(world.order(10))
            await world.play(2)
            limit = world.order(5, order_type=OrderType.LIMIT, limit=4_000)
            await world.submit(limit)
            agree(await ask(world, "/v2/account"), rest["account"])
            for order in await ask(world, "/v2/orders?status=all"):
                agree(order, rest["order"])
            agree((await ask(world, "/v2/positions"))[0], rest["position"])
            agree(await ask(world, "/v2/clock"), rest["clock"])
            days = await ask(world, "/v2/calendar?start=2024-03-11&end=2024-03-15")
            assert [each["date"][-2:] for each in days] == ["10", "11", "12", "13", "14"] or len(
                days
            ) == 5
            agree(days[0], rest["calendar_day"])
            bars = await ask(world, "/v2/stocks/bars?symbols=AAPL&timeframe=1Min&limit=2")
            assert set(bars) == set(rest["bars"])
            agree(bars["bars"]["AAPL"][0], rest["bars"]["bars"]["TEST"][0])
            agree(await ask(world, "/v2/orders/nothing"), rest["error"])

    asyncio.run(run())


def test_reports_have_the_shapes_and_come_in_binary_frames(shapes: dict[str, Any]) -> None:
    async def run() -> None:
        stream = shapes["trading_stream"]
        examples = {each["data"]["event"]: each for each in stream["trade_updates"]}
        async with (
            local_alpaca() as world,
            websockets.connect(world.server.stream_url) as socket,
        ):
            login = stream["authenticate"]["send"] | {"key": KEY, "secret": SECRET}
            await socket.send(json.dumps(login))
            assert json.loads(await socket.recv()) == stream["authenticate"]["ok"]
            await socket.send(json.dumps(stream["listen"]["send"]))
            assert json.loads(await socket.recv()) == stream["listen"]["reply"]
            world.exchange.split_fill = lambda lots: (4, lots - 4)
            await world.submit(world.order(10))
            await world.play()
            limit = world.order(5, order_type=OrderType.LIMIT, limit=4_000)
            await world.submit(limit)
            await world.replace(limit, limit=4_100)
            await world.cancel(limit)
            heard: dict[str, Any] = {}
            while "canceled" not in heard:
                frame = await asyncio.wait_for(socket.recv(), 30)
                assert isinstance(frame, bytes)
                message = json.loads(frame)
                heard[message["data"]["event"]] = message
        assert set(heard) == {"new", "partial_fill", "fill", "replaced", "canceled"}
        for event, message in heard.items():
            assert set(message) == set(examples[event])
            loose = frozenset({"execution_id", "reason", "order"})
            agree(message["data"], examples[event]["data"], without=loose)
            agree(message["data"]["order"], examples[event]["data"]["order"])
        assert heard["replaced"]["data"]["order"]["replaced_by"]

    asyncio.run(run())


def test_wrong_login_of_the_stream_of_reports(shapes: dict[str, Any]) -> None:
    async def run() -> None:
        stream = shapes["trading_stream"]
        async with (
            local_alpaca(is_open=False) as world,
            websockets.connect(world.server.stream_url) as socket,
        ):
            await socket.send(json.dumps(stream["authenticate"]["legacy_send"]))
            assert json.loads(await socket.recv()) == stream["authenticate"]["bad"]

    asyncio.run(run())


@pytest.mark.parametrize("is_packed", [False, True])
def test_market_data_has_the_shapes(shapes: dict[str, Any], *, is_packed: bool) -> None:
    async def run() -> None:
        data = shapes["market_data_stream"]
        headers = {"Content-Type": "application/msgpack"} if is_packed else {}
        pack = msgpack.packb if is_packed else json.dumps
        unpack: Any = msgpack.unpackb if is_packed else json.loads
        async with (
            local_alpaca(is_open=False) as world,
            websockets.connect(world.server.data_stream_url, additional_headers=headers) as socket,
        ):
            assert unpack(await socket.recv()) == data["connected"]
            await socket.send(pack({"action": "subscribe", "bars": ["AAPL"]}))  # type: ignore[arg-type]
            (error,) = unpack(await socket.recv())
            assert (error["code"], error["msg"]) == (401, data["error_codes"]["401"])
            await socket.send(pack(data["auth_send"]))  # type: ignore[arg-type]
            (error,) = unpack(await socket.recv())
            assert (error["code"], error["msg"]) == (402, data["error_codes"]["402"])
            await socket.send(pack(data["auth_send"] | {"key": KEY, "secret": SECRET}))  # type: ignore[arg-type]
            assert unpack(await socket.recv()) == data["authenticated"]
            await socket.send(pack(data["auth_send"] | {"key": KEY, "secret": SECRET}))  # type: ignore[arg-type]
            (error,) = unpack(await socket.recv())
            assert (error["code"], error["msg"]) == (403, data["error_codes"]["403"])
            wanted = {"action": "subscribe", "bars": ["*"], "trades": ["AAPL"], "quotes": []}
            await socket.send(pack(wanted))  # type: ignore[arg-type]
            (told,) = unpack(await socket.recv())
            assert (told["T"], told["bars"], told["trades"]) == ("subscription", ["*"], ["AAPL"])
            await socket.send("{" if not is_packed else b"\xc1")
            (error,) = unpack(await socket.recv())
            assert (error["code"], error["msg"]) == (400, data["error_codes"]["400"])
            await world.play()
            (bar,) = unpack(await socket.recv())
            agree(bar, data["bar"], without=frozenset({"t"}))
            assert bar["S"] == "AAPL"
            world.server.tell_market("t", "AAPL", {"t": 1, "i": 1, "x": "V", "p": 1.0, "s": 1,
                                                   "c": ["@"], "z": "A"})  # fmt: skip
            (trade,) = unpack(await socket.recv())
            agree(trade, data["trade"], without=frozenset({"t"}))

    asyncio.run(run())


def test_second_connection_of_an_account_is_refused_as_alpaca_does(
    shapes: dict[str, Any],
) -> None:
    async def run() -> None:
        data = shapes["market_data_stream"]
        login = json.dumps(data["auth_send"] | {"key": KEY, "secret": SECRET})
        async with (
            local_alpaca(is_open=False) as world,
            websockets.connect(world.server.data_stream_url) as first,
            websockets.connect(world.server.data_stream_url) as second,
        ):
            await first.recv()
            await first.send(login)
            await first.recv()
            await second.recv()
            await second.send(login)
            (error,) = json.loads(await second.recv())
            assert (error["code"], error["msg"]) == (406, data["error_codes"]["406"])

    asyncio.run(run())


def test_too_many_requests_get_429_and_how_long_to_wait(shapes: dict[str, Any]) -> None:
    async def run() -> None:
        async with local_alpaca(is_open=False, venue_per_minute=3) as world:

            def get() -> requests.Response:
                return requests.get(
                    f"{world.server.rest_url}/v2/clock", headers=HEADERS, timeout=30
                )

            answers = [await asyncio.to_thread(get) for _ in range(4)]
            assert [each.status_code for each in answers] == [200, 200, 200, 429]
            assert 1 <= int(answers[3].headers["Retry-After"]) <= 60
            agree(answers[3].json(), shapes["rest"]["error"])

    asyncio.run(run())


def test_orders_that_are_no_orders_are_refused() -> None:
    async def run() -> None:
        async with local_alpaca(is_open=False) as world:

            def post(body: dict[str, Any]) -> tuple[int, str]:
                url = f"{world.server.rest_url}/v2/orders"
                answer = requests.post(url, headers=HEADERS, json=body, timeout=30)
                return answer.status_code, answer.json()["message"]

            order = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market",
                     "time_in_force": "day", "client_order_id": "one"}  # fmt: skip
            assert (await asyncio.to_thread(post, {}))[0] == 422
            unknown = await asyncio.to_thread(post, order | {"symbol": "AAPX"})
            assert unknown == (422, 'asset "AAPX" not found')
            price = {"type": "limit", "limit_price": "50.123"}
            assert (await asyncio.to_thread(post, order | price))[0] == 422
            assert world.exchange.instruments["AAPL"] is not None
            assert world.exchange.instruments["AAPL"].id == AAPL.id

    asyncio.run(run())
