"""Parts of the pages that are made from the code, so that they can't say anything else.

Each stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`. After a change of the
code: `.venv/bin/python -m tests.docs.generated` writes them anew.
"""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

import typer

from onetape.control.cli import app
from onetape.domain.events import OrderReport
from onetape.domain.orders import OrderStatus
from onetape.execution.oms import CLASSIC, MOVES, OPEN
from onetape.runtime.config import SessionConfig
from onetape.tape.envelope import SOURCES, TYPES
from tests.docs.pages import ROOT


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def code(text: str) -> str:
    """`text` as code that may stand in a cell of a table: renderers differ on `|` in backticks."""
    if "|" not in text:
        return f"`{text}`"
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>"


def first_sentence(text: str | None) -> str:
    """The first line of a docstring."""
    return inspect.cleandoc(text or "").partition("\n")[0]


# orders.md


def render_order_diagram() -> str:
    """Every move of the OMS as a mermaid state diagram.

    Events of one arrow share a label; an arrow to the status of the event's own name has none.
    """
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, event), after in MOVES.items():
        word = TYPES[event].removeprefix("order.")
        labels = arrows.setdefault((before.name, after.name), [])
        if word.upper() != after.name:
            labels.append(word)
    lines = ["    [*] --> SUBMITTED"]
    for (before, after), labels in arrows.items():
        lines.append(f"    {before} --> {after}" + (f": {', '.join(labels)}" if labels else ""))
    closed = [each for each in OrderStatus if each in MOVES.values() and each not in OPEN]
    lines += [f"    {each.name} --> [*]" for each in closed]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def render_order_moves() -> str:
    """The table of the OMS: event by row, status before by column, status after in the cell."""
    rows = [
        (f"`{TYPES[event]}`", *(_after(status, event) for status in OPEN))
        for event in get_args(OrderReport)
    ]
    return table(("event", *(each.name for each in OPEN)), rows)


def _after(status: OrderStatus, event: type[Any]) -> str:
    after = MOVES.get((status, event))
    return after.name if after is not None else ""


def render_classic() -> str:
    """The projection on the classic six statuses."""
    return table(("status", "classic"), [(each.name, word) for each, word in CLASSIC.items()])


# configuration.md


def render_config_keys() -> str:
    """Every key of a configuration, section by section."""
    schema = SessionConfig.model_json_schema()
    parts = [_section("", schema, schema["$defs"], "the root")]
    told = set[str]()
    for each in _sections(schema, schema["$defs"], ""):
        heading, _, body = each.partition("\n")
        if ".overrides.N." in heading and body in told:
            continue  # a model that stands where it is for all
        told.add(body)
        parts.append(each)
    return "\n\n".join(dict.fromkeys(parts))  # some models share a section


def _sections(node: dict[str, Any], known: dict[str, Any], path: str) -> Iterator[str]:
    for name, value in node["properties"].items():
        for section, suffix in _members(value, known):
            at = f"{path}{name}{suffix}"
            title = f"`{at}`" if "=" not in at else f"`{path}{name}`, {_choice(section)}"
            yield _section(title, section, known, "")
            yield from _sections(section, known, f"{path}{name}{suffix.partition(' ')[0]}.")


def _members(value: dict[str, Any], known: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Sections that a value is made of, and what tells them apart."""
    if "$ref" in value:
        target = known[value["$ref"].rpartition("/")[2]]
        if "properties" in target:
            yield target, ""
    elif value.get("type") == "array":
        for section, choice in _members(value["items"], known):
            yield section, f".N{choice}"
    elif "anyOf" in value:
        for each in value["anyOf"]:
            yield from _members(each, known)
    elif "oneOf" in value:
        for each in value["oneOf"]:
            for section, _ in _members(each, known):
                yield section, " ="


def _choice(section: dict[str, Any]) -> str:
    for name, value in section["properties"].items():
        if "const" in value:
            return f"`{name}: {value['const']}`"
    return ""


def _section(title: str, node: dict[str, Any], known: dict[str, Any], root: str) -> str:
    heading = (
        f"### {title}\n\n{first_sentence(node.get('description'))}" if title else f"### At {root}"
    )
    needed = node.get("required", ())
    rows = [
        (
            f"`{name}`",
            _takes(value, known),
            "needed" if name in needed else _default(value),
            value.get("description", "").replace("\n", " "),
        )
        for name, value in node["properties"].items()
        if not (title and "const" in value and name in ("model", "type"))
    ]
    keys = table(("key", "takes", "default", "meaning"), rows) if rows else "No further keys."
    return f"{heading}\n\n{keys}"


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    match default:
        case None if "default" in value:
            return "null"
        case None:
            return "derived" if value.get("type") == "string" else "empty"
        case bool():
            return f"`{str(default).lower()}`"
        case dict() if "model" in default:
            return f"`{{model: {default['model']}}}`"
        case dict() | list():
            return "defaults of its keys" if default else "empty"
        case _:
            return f"`{default}`"


def _takes(value: dict[str, Any], known: dict[str, Any]) -> str:
    """What kind of value a key takes, with its bounds."""
    if "$ref" in value or "oneOf" in value:
        return "a section"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    if "anyOf" in value:
        kinds = [each for each in value["anyOf"] if each.get("type") != "null"]
        if {each.get("type") for each in kinds} == {"number", "string"}:
            return "a number" + _bounds(value)
        return " or ".join(dict.fromkeys(_takes(each, known) for each in kinds))
    match value["type"]:
        case "integer":
            return "a whole number" + _bounds(value)
        case "array":
            return "a list of sections" if "$ref" in value["items"] else "a list"
        case "object":
            return "keys and values"
        case "boolean":
            return "`true`, `false`"
        case "string" if value.get("format") == "date-time":
            return "a date or time"
        case _:
            return "text"


def _bounds(value: dict[str, Any]) -> str:
    """The range of a number: `> 0`, `0 to 10`."""
    signs = {
        "gt": ">", "exclusiveMinimum": ">", "ge": ">=", "minimum": ">=",
        "lt": "<", "exclusiveMaximum": "<", "le": "<=", "maximum": "<=",
    }  # fmt: skip
    found = {signs[key]: value[key] for key in signs if key in value}
    if ">" in found and found.get(">=", found[">"]) <= found[">"]:
        found.pop(">=", None)
    texts = [f"{sign} {bound:,}" for sign, bound in found.items() if abs(bound) < 2**62]
    return f" {', '.join(texts)}" if texts else ""


# cli.md


def render_commands() -> str:
    """Every command with its arguments and options."""
    return "\n\n".join(_commands(typer.main.get_command(app), "onetape"))


def _commands(command: Any, name: str) -> Iterator[str]:
    inner = getattr(command, "commands", {})
    for word, each in inner.items():
        yield from _commands(each, f"{name} {word}")
    if inner:
        return
    context = typer.Context(command)
    rows = [
        _parameter(each, context) for each in command.params if each.name not in ("_debug", "help")
    ]
    told = f"\n\n{table(('argument or option', 'default', 'meaning'), rows)}" if rows else ""
    yield f"### `{name}`\n\n{command.help}{told}"


def _parameter(parameter: Any, context: typer.Context) -> tuple[str, str, str]:
    is_option = parameter.opts[0].startswith("-")
    name = parameter.get_help_record(context)[0] if is_option else parameter.metavar
    default = getattr(parameter.default, "value", parameter.default)
    shown = f"`{default}`" if is_option and default not in (None, "", False) else ""
    return code(name), "needed" if parameter.required else shown, parameter.help or ""


# tape.md


def render_event_types() -> str:
    """Every type of event that may stand on a tape."""
    rows = [
        (f"`{name}`", SOURCES.get(kind, "strategy"), _fields(kind), first_sentence(kind.__doc__))
        for kind, name in TYPES.items()
    ]
    return table(("type", "source", "payload", "meaning"), rows)


def _fields(kind: type[Any]) -> str:
    return ", ".join(f"`{each}`" for each in kind.__struct_fields__)


REGIONS: dict[str, dict[str, Callable[[], str]]] = {
    "docs/orders.md": {
        "order diagram": render_order_diagram,
        "order moves": render_order_moves,
        "classic statuses": render_classic,
    },
    "docs/configuration.md": {"configuration keys": render_config_keys},
    "docs/cli.md": {"commands": render_commands},
    "docs/tape.md": {"event types": render_event_types},
}


def fill(text: str, name: str, content: str) -> str:
    """`text` with `content` in the region `name`.

    Raises:
        ValueError: The page has no such region.
    """
    begin, end = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"no region {begin}")
    return pattern.sub(lambda _: f"{begin}\n\n{content}\n\n{end}", text)


def main() -> None:
    """Write every region anew."""
    for page, regions in REGIONS.items():
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        for name, render in regions.items():
            text = fill(text, name, render())
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
