"""Running the files and modules that ``labc serve`` is given."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from labc.cli.tracebacks import users_place, users_traceback


class LoadError(Exception):
    """A file or module that can't be run. ``traceback``: of the user's code; empty where the sentence says it all."""

    def __init__(self, sentence: str, traceback: str = "") -> None:
        super().__init__(sentence)
        self.traceback = traceback


def file_of(target: str) -> Path | None:
    """The file, if the target means one and not a module."""
    path = Path(target)
    looks_like_one = target.startswith(".") or target.endswith(".py") or path.name != target
    return path.absolute() if looks_like_one or path.is_file() else None


def name_of(target: str) -> str:
    """The name under which it is imported."""
    file = file_of(target)
    return target if file is None else file.stem


def load(target: str) -> ModuleType:
    """Run a file, or import a module, as ``python FILE`` or ``python -m MODULE`` would find it.

    It gets its own name and not ``__main__``, so that spawned processes find its functions.

    Raises:
        LoadError: it is not there, or it raised.
    """
    file = file_of(target)
    try:
        if file is not None:
            return _run_file(file)
        _put_first(os.getcwd())
        return importlib.import_module(target)
    except (LoadError, KeyboardInterrupt):
        raise
    except ModuleNotFoundError as error:
        if file is None and error.name is not None and f"{target}.".startswith(f"{error.name}."):
            raise LoadError(f"there is no module {target!r}, and no file of that name") from None
        raise _failed(target, error) from error
    except Exception as error:
        raise _failed(target, error) from error


def _run_file(file: Path) -> ModuleType:
    if file.is_dir():
        raise LoadError(f"{str(file)!r} is a folder: give the files in it that are to be served")
    if not file.is_file():
        raise LoadError(f"there is no file {str(file)!r}")
    name = file.stem
    if "." in name:
        raise LoadError(f"{file.name} can't be imported: rename it, without a dot before its ending")
    if name in sys.modules:
        module = sys.modules[name]
        there = getattr(module, "__file__", None)
        if there is not None and file.resolve() == Path(there).resolve():  # given twice, or imported by another file
            return module
        raise LoadError(f"{file.name} would hide the module {name!r} ({there or 'built into Python'}): rename it")
    _put_first(str(file.parent))
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise LoadError(f"{file.name} is no Python file: its name should end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _put_first(directory: str) -> None:
    if directory in sys.path:
        sys.path.remove(directory)
    sys.path.insert(0, directory)


def _failed(target: str, error: Exception) -> LoadError:
    place = users_place(error) or target
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return LoadError(f"{place}: {type(error).__name__}: {text}".rstrip(": "), users_traceback(error))
