"""A file of features: Python that makes a `FeatureRegistry`."""

from __future__ import annotations

import hashlib
import sys
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from onetape.domain.errors import DataError, OnetapeError, StrategyError
from onetape.features.registry import FeatureRegistry


def load_features(path: Path) -> FeatureRegistry | None:
    """The registry that a file makes; None where it makes none.

    Raises:
        DataError: The file can't be read.
        StrategyError: It can't be run, makes several registries, or features of it are wrong.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror}", where=str(path),
                        remedy="give a Python file of features") from None  # fmt: skip
    name = f"onetape_features_{path.stem}_{hashlib.sha256(text).hexdigest()[:12]}"
    module = sys.modules.get(name)
    if module is None:
        spec = spec_from_file_location(name, path.absolute())
        if spec is None or spec.loader is None:
            raise DataError("is no Python file", where=str(path),
                            remedy="give a Python file of features")  # fmt: skip
        module = module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise _explain(error, path) from error
    registries = [each for each in vars(module).values() if isinstance(each, FeatureRegistry)]
    if len(registries) > 1:
        raise StrategyError(f"makes {len(registries)} registries", where=str(path),
                            remedy="put all features into one")  # fmt: skip
    return registries[0] if registries else None


def _explain(error: Exception, path: Path) -> StrategyError:
    """What a file raised, with its line."""
    frames = traceback.extract_tb(error.__traceback__)
    line = next(
        (
            each.lineno
            for each in reversed(frames)
            if Path(each.filename).absolute() == path.absolute()
        ),
        None,
    )
    if isinstance(error, SyntaxError):
        line = error.lineno
    place = f"{path}:{line}" if line else str(path)
    if isinstance(error, OnetapeError):
        is_here = error.where.startswith(str(path.absolute()))
        where = f"{error.where}: " if error.where and not is_here else ""
        return StrategyError(f"{where}{error.what}", where=place, remedy=error.remedy)
    return StrategyError(
        f"the file can't be run: {type(error).__name__}: {error}", where=place,
        remedy="correct that line",
    )  # fmt: skip
