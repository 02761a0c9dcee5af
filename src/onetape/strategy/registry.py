"""The registry: finds a strategy class by entry-point name or in a file."""

from __future__ import annotations

import hashlib
import inspect
import sys
import traceback
from importlib.abc import ExecutionLoader, InspectLoader
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec
from types import ModuleType
from typing import TypeGuard

import msgspec

from onetape.domain.errors import StrategyError
from onetape.domain.nearest import nearest
from onetape.strategy.declaration import Param
from onetape.strategy.sdk import Strategy
from onetape.strategy.validator import check_source, read_source

GROUP = "onetape.strategies"
"""The entry-point group under which packages offer strategies."""

_BROKEN_CODE = (
    ArithmeticError, AttributeError, ImportError, LookupError, NameError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError,
)  # fmt: skip
"""What Python raises when the code of a module is wrong."""


class StrategyInfo(msgspec.Struct, frozen=True):
    """What can be said about a strategy that is installed.

    `source` is `module:Class`. One that can't be loaded has no version, and says why in `summary`.
    """

    name: str
    version: str
    summary: str
    params: dict[str, Param]
    source: str


def load_strategy(name: str, path: str | None = None) -> type[Strategy]:
    """The class of strategy `name`: from `path` if given, else the installed one of that name.

    Args:
        name: Entry-point name; with `path` only a label.
        path: `FILE.py`, or `FILE.py:Class` where a file holds several.

    Raises:
        StrategyError: No such strategy, or it can't be loaded; every finding of the validator is
            listed.
    """
    if path is not None:
        return _load_file(path)
    found = {each.value: each for each in entry_points(group=GROUP, name=name)}
    if not found:
        raise StrategyError(
            f"strategy {name!r} is not installed",
            remedy=nearest(name, sorted(entry_points(group=GROUP).names)),
        )
    if len(found) > 1:
        raise StrategyError(
            f"strategy {name!r} is installed more than once: {', '.join(sorted(found))}",
            remedy="uninstall all but one",
        )
    return _load_entry_point(next(iter(found.values())))


def list_strategies() -> list[StrategyInfo]:
    """Every installed strategy, by name."""
    found = {(each.name, each.value): each for each in entry_points(group=GROUP)}
    return [_describe(found[key]) for key in sorted(found)]


def strategy_version(strategy: type[Strategy]) -> str:
    """`version` as declared, and 12 hex digits of the SHA-256 of its source: `1+3f0c99a1b2d4`.

    The source is the text of its module, and of the modules of strategies that it inherits from. A
    class without readable source (typed at a prompt) has its declared version only.
    """
    modules = [
        owner.__module__
        for owner in strategy.__mro__
        if issubclass(owner, Strategy) and owner is not Strategy
    ]
    sources = [_source_of(module) for module in dict.fromkeys(modules)]
    if None in sources:
        return strategy.version
    return f"{strategy.version}+{_hash(''.join(map(str, sources)))}"


def _source_of(module_name: str) -> str | None:
    """The text that a module was loaded from; None when there is none."""
    module = sys.modules.get(module_name)
    if module is None:
        return None
    loader = module.__spec__.loader if module.__spec__ else None
    if isinstance(loader, InspectLoader):
        return loader.get_source(module_name)
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return None


def _hash(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def _describe(entry_point: EntryPoint) -> StrategyInfo:
    try:
        strategy = _load_entry_point(entry_point)
    except StrategyError as error:
        return StrategyInfo(entry_point.name, "", str(error), {}, entry_point.value)
    summary = (inspect.getdoc(strategy) or "").partition("\n")[0]
    params = strategy.declared_params
    return StrategyInfo(entry_point.name, strategy.version, summary, params, entry_point.value)


def _load_entry_point(entry_point: EntryPoint) -> type[Strategy]:
    try:
        found = entry_point.load()
    except _BROKEN_CODE as error:
        raise StrategyError(
            f"strategy {entry_point.name!r} can't be imported: {type(error).__name__}: {error}",
            where=entry_point.value,
            remedy="repair or reinstall the package it belongs to",
        ) from error
    if not _is_strategy(found):
        raise StrategyError(
            f"strategy {entry_point.name!r} is no subclass of Strategy",
            where=entry_point.value,
            remedy="let the entry point name the class",
        )
    return found


def _is_strategy(value: object) -> TypeGuard[type[Strategy]]:
    return isinstance(value, type) and issubclass(value, Strategy) and value is not Strategy


def _load_file(path: str) -> type[Strategy]:
    file, separator, wanted = path.rpartition(":")
    if not separator or not file.endswith(".py"):
        file, wanted = path, ""
    module = _load_module(file)
    classes = {
        name: value
        for name, value in vars(module).items()
        if _is_strategy(value) and value.__module__ == module.__name__
    }
    if wanted and wanted not in classes:
        raise StrategyError(
            f"the file has no strategy {wanted!r}",
            where=file,
            remedy=nearest(wanted, list(classes)),
        )
    if not wanted and len(classes) != 1:
        raise StrategyError(
            f"the file has {len(classes)} strategies: {', '.join(classes)}",
            where=file,
            remedy=f"name one, like {file}:{next(iter(classes), 'Name')}",
        )
    return classes[wanted or next(iter(classes))]


class _CheckedSource(ExecutionLoader):
    """Runs the very text that was checked, whatever the file holds by then."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text

    def get_filename(self, fullname: str) -> str:
        return self.path

    def get_source(self, fullname: str) -> str:
        return self.text


def _load_module(path: str) -> ModuleType:
    """The module of a strategy file, under a name made of its file name and content."""
    text = read_source(path)
    findings = check_source(text, path)
    if findings:
        listed = "".join(f"\n  {finding}" for finding in findings)
        raise StrategyError(f"the strategy does not pass the check:{listed}", where=path)
    stem = path.replace("\\", "/").rpartition("/")[2].removesuffix(".py")
    name = f"onetape_file_{stem}_{_hash(text)}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _CheckedSource(path, text)
    spec = ModuleSpec(name, loader, origin=path)
    spec.has_location = True
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, _BROKEN_CODE):
            raise StrategyError(
                f"the strategy can't be loaded: {type(error).__name__}: {error}",
                where=f"{path}:{_line_of(error, path)}",
                remedy="correct that line",
            ) from error
        raise
    return module


def _line_of(error: BaseException, path: str) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    return next((each.lineno or 1 for each in reversed(frames) if each.filename == path), 1)
