"""The guard: inside a callback, whatever the tape can't know of raises `StrategyError`.

Who is asked: an access is refused when code of a watched strategy class is on the stack of the
thread that makes it. The engine, its tape, and other threads (a progress bar) are not concerned, so
nothing has to be paused, and a callback costs nothing: work is done only when an access happens.

How: files, directories, sockets, processes and threads announce themselves to a process-wide audit
hook. Clocks and random numbers don't, so their module functions are replaced while anybody watches
and put back afterwards.

What it can't catch, and the validator refuses in the source: `datetime.now()` and other methods of
C types, `os.environ`, `print`, a function that was taken out of its module earlier
(`from time import time`), a `random.Random()` or a file opened before the session. A strategy that
catches every exception can swallow the error, but gets nothing for it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from onetape.domain.errors import StrategyError
from onetape.strategy.checks.finding import ASK_CTX_NOW, DERIVE_FROM_PARAMS, TAKE_DATA
from onetape.strategy.sdk import Strategy

_CLOCKS = {
    "time": (
        "clock_gettime", "clock_gettime_ns", "ctime", "gmtime", "localtime", "monotonic",
        "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "process_time_ns",
        "sleep", "strftime", "thread_time", "thread_time_ns", "time", "time_ns",
    ),
}  # fmt: skip
_DICE = {
    "numpy.random": (),
    "os": ("getrandom", "urandom"),
    "random": (),
    "secrets": (),
    "uuid": ("uuid1", "uuid4"),
}
"""Functions to replace, by module; none named means all public ones that aren't classes."""

_AUDITED = frozenset({
    "_thread", "ctypes", "fcntl", "ftplib", "glob", "http", "imaplib", "mmap", "open", "os",
    "pathlib", "poplib", "pty", "shutil", "smtplib", "socket", "sqlite3", "subprocess", "syslog",
    "tempfile", "urllib", "webbrowser", "winreg",
})  # fmt: skip
"""First words of the audit events that are refused."""

_MAY_READ_FILES = frozenset({
    "importlib._bootstrap", "importlib._bootstrap_external", "linecache", "pdb", "warnings",
})  # fmt: skip
"""Modules that may open files on behalf of a callback: they load code, or show it to a person."""

_watched: list[frozenset[CodeType]] = []
_replaced: list[tuple[ModuleType, str, Any]] = []


@contextmanager
def watching(strategies: Iterable[type[Strategy]]) -> Generator[None]:
    """Guard the callbacks of these classes until the block ends, however it ends.

    Blocks may be nested, or overlap between sessions.
    """
    codes = frozenset(
        function.__code__
        for strategy in strategies
        for owner in strategy.__mro__
        if issubclass(owner, Strategy) and owner is not Strategy
        for function in vars(owner).values()
        if isinstance(function, FunctionType)
    )
    _install_audit_hook()
    if not _watched:
        _replace_functions()
    _watched.append(codes)
    try:
        yield
    finally:
        _watched.remove(codes)
        if not _watched:
            _restore_functions()


@functools.cache
def _install_audit_hook() -> None:
    """Once in a process: an audit hook can't be taken out again."""
    sys.addaudithook(_on_audit)


def _on_audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched:
        return
    if event == "import":
        if arguments[0] in _DICE:
            _refuse(f"import of {arguments[0]}", DERIVE_FROM_PARAMS)
    elif event.partition(".")[0] in _AUDITED:
        target = f" of {arguments[0]!r}" if arguments and isinstance(arguments[0], str) else ""
        _refuse(f"{event}{target}", TAKE_DATA, exempt=_MAY_READ_FILES)


def _replace_functions() -> None:
    for table, remedy in ((_CLOCKS, ASK_CTX_NOW), (_DICE, DERIVE_FROM_PARAMS)):
        for name, functions in table.items():
            module = sys.modules.get(name)
            if module is None:
                continue
            for function in functions or module.__all__:
                original = getattr(module, function, None)
                if callable(original) and not isinstance(original, type):
                    _replaced.append((module, function, original))
                    setattr(module, function, _guarded(original, f"{name}.{function}()", remedy))


def _restore_functions() -> None:
    while _replaced:
        module, name, original = _replaced.pop()
        setattr(module, name, original)


@functools.cache
def _guarded(original: Callable[..., Any], what: str, remedy: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        _refuse(what, remedy)
        return original(*args, **kwargs)

    return guarded


def _refuse(what: str, remedy: str, exempt: frozenset[str] = frozenset()) -> None:
    """Raise if a watched callback is on this thread's stack, and no module of `exempt` above it."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if frame.f_globals.get("__name__") in exempt:
            return
        for codes in _watched:
            if frame.f_code in codes:
                raise StrategyError(
                    f"{what} is not possible inside a callback",
                    where=f"{frame.f_code.co_qualname} line {frame.f_lineno}",
                    remedy=remedy,
                )
        frame = frame.f_back
