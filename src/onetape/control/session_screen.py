"""How a paper or live session is, on the terminal: what is wrong comes first, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onetape.control.terminal import print_table

_ORDERS = 10


def print_status(now: Mapping[str, Any]) -> None:
    """What `status` answered."""
    if now["state"] == "busy":
        print(f"BUSY: process {now['pid']} does not answer yet, and no strategy is why; ask again")
        return
    if now["state"] == "stuck":
        print(f"STUCK for {now['busy_seconds']} s (process {now['pid']}); "
              "onetape kill takes the strategy out")  # fmt: skip
        return
    print(f"{now['name']} ({now['mode']}, {now['session']}): {now['state']}, process {now['pid']} "
          f"for {tell_seconds(now['seconds'])}")  # fmt: skip
    ages = f"the feed spoke {tell_seconds(now['heard_seconds'])} ago"
    if now["looked_seconds"] is not None:
        ages += f", the venue's books were seen {tell_seconds(now['looked_seconds'])} ago"
    print(f"{tell_progress(now)}; {ages}")
    for line in _list_trouble(now):
        print(line)
    print_table(
        ["strategy", "state", ">equity", ">cash", "positions"],
        [
            [name, _tell_state(each), f"{each['equity']:,.2f}", f"{each['cash']:,.2f}",
             ", ".join(f"{units:+g} {of}" for of, units in each["positions"].items()) or "flat"]
            for name, each in now["strategies"].items()
        ],
    )  # fmt: skip
    _print_orders(now)
    if now["troubles"]:
        print("newest trouble:")
        for each in now["troubles"]:
            print(f"  {each}")


def tell_progress(now: Mapping[str, Any]) -> str:
    """The time of the session, and how much it has taken."""
    what = "bars" if "bars" in now else "ticks"
    when = f"{now['now'][:19]}Z" if now["now"] else "-"
    return f"{when}, {now[what]:,} {what}" if now[what] else f"{when}, no market data yet"


def tell_short(now: Mapping[str, Any]) -> str:
    """The same in one line, behind a command."""
    parts = [f"{name} {_state_word(now, each)}" for name, each in now["strategies"].items()]
    if now["state"] != "running":
        parts.insert(0, now["state"])
    return f"{', '.join(parts)}; {tell_left(now)}"


def tell_left(now: Mapping[str, Any]) -> str:
    """Open orders and positions."""
    held = [f"{units:+g} {of} ({name})" for name, each in now["strategies"].items()
            for of, units in each["positions"].items()]  # fmt: skip
    count = now["open_orders"]
    orders = f"{count:,} open order{'' if count == 1 else 's'}" if count else "no open orders"
    return f"{orders}, {', '.join(held) or 'flat'}"


def tell_seconds(seconds: float) -> str:
    """`5 s`, `3 min`, `2 h 05 min`."""
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def _list_trouble(now: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    if now["killed"] is not None:
        lines.append(f"KILL SWITCH is set: {now['killed']} (onetape kill --off lifts it)")
    for each in now["outages"]:
        since = f" since {each['since'][:19]}Z" if each["since"] else ""
        lines.append(f"DOWN{since}: {each['part']} {each['name']}: {each['reason']}")
    lines += [f"DIFFERS: {each}" for each in now["differences"]]
    if now["passed_over"]["why"]:
        lines.append(f"PASSED OVER {now['passed_over']['bars']:,}: {now['passed_over']['why']}")
    lines += list_missed(now["actions"])
    if now["to_send"]:
        lines.append(f"WAITING for the venue's rate limit: {now['to_send']:,} commands")
    if now["inbox"]["waiting"] > 100:
        lines.append(f"BEHIND: {now['inbox']['waiting']:,} inputs wait")
    return lines


def list_missed(agenda: Mapping[str, Any]) -> list[str]:
    """What is wrong with the corporate actions of a session."""
    lines = [f"MISSED: {each} (it was announced behind its first row, and is not applied)"
             for each in agenda["missed"]]  # fmt: skip
    if agenda["problem"]:
        lines.append(f"ACTIONS can't be read: {agenda['problem']}")
    return lines


def _state_word(now: Mapping[str, Any], strategy: Mapping[str, Any]) -> str:
    is_killed = now["killed"] is not None and strategy["state"] == "paused"
    return "killed" if is_killed else strategy["state"]


def _tell_state(strategy: Mapping[str, Any]) -> str:
    why = ", ".join(strategy["why"])
    state = f"{strategy['state']}: {why}" if why else strategy["state"]
    cold = ", ".join(strategy["cold"])
    return f"{state} (no value yet: {cold})" if cold else state


def _print_orders(now: Mapping[str, Any]) -> None:
    orders = now["orders"]
    if not orders:
        print("no open orders")
        return
    print_table(
        ["order", "side", ">quantity", ">filled", "instrument", "type", ">limit", ">stop",
         "status"],
        [
            [each["id"], each["side"], f"{each['quantity']:g}", f"{each['filled']:g}",
             each["instrument"], each["type"],
             "" if each["limit"] is None else f"{each['limit']:.10g}",
             "" if each["stop"] is None else f"{each['stop']:.10g}", each["status"]]
            for each in orders[:_ORDERS]
        ],
    )  # fmt: skip
    more = now["open_orders"] - min(_ORDERS, len(orders))
    if more > 0:
        print(f"and {more:,} more open orders")
