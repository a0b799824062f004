"""Type hints are the schema: arguments are checked, and converted where that loses nothing, before a call."""

from __future__ import annotations

import functools
import inspect
import reprlib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labc.directory import near_names
from labc.errors import ArgumentsError
from labc.functions.hints import Convert, Unsuitable, converter, shown

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Signature:
    """The parameters of one function. A function that tells nothing of itself (some builtins) takes anything."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        try:
            self._signature: inspect.Signature | None = inspect.signature(function)
        except (ValueError, TypeError):
            self._signature = None
        parameters = self._signature.parameters if self._signature else {}
        hints = _hints(function)
        self._checked: dict[str, Convert] = {}
        for key, parameter in parameters.items():
            if key in hints and (convert := converter(_with_default(hints[key], parameter))):
                self._checked[key] = convert
        plain = [p for p in parameters.values() if p.kind in _POSITIONAL]
        self._positional = [p.name for p in plain]
        required = [p for p in parameters.values() if p.default is p.empty and p.kind is p.KEYWORD_ONLY]
        self._least = len(self._positional) + 1 if required else sum(p.default is p.empty for p in plain)

    def __str__(self) -> str:
        if self._signature is None:
            return f"{self._name}(...)"
        parameters = [
            p.replace(annotation=_Written.of(p.annotation), default=_default(p.default))
            for p in self._signature.parameters.values()
        ]
        returns = _Written.of(self._signature.return_annotation)
        return f"{self._name}{self._signature.replace(parameters=parameters, return_annotation=returns)}"

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The arguments as the function shall get them.

        Raises:
            ArgumentsError: count, keyword or type do not fit; names the argument and what was expected.
        """
        if self._signature is None:
            return args, kwargs
        if not kwargs and self._least <= len(args) <= len(self._positional):
            if not self._checked:
                return args, kwargs
            return [self._check(key, value) for key, value in zip(self._positional, args, strict=False)], kwargs
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise self._misfit(str(error), kwargs) from None
        for key, value in bound.arguments.items():
            if key in self._checked:
                bound.arguments[key] = self._check_parameter(key, value)
        return bound.args, bound.kwargs

    def _check_parameter(self, key: str, value: Any) -> Any:
        assert self._signature is not None
        kind = self._signature.parameters[key].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            return tuple(self._check(key, item, f"*{key}[{i}]") for i, item in enumerate(value))
        if kind is inspect.Parameter.VAR_KEYWORD:
            return {word: self._check(key, item, word) for word, item in value.items()}
        return self._check(key, value)

    def _check(self, key: str, value: Any, place: str = "") -> Any:
        convert = self._checked.get(key)
        if convert is None:
            return value
        try:
            return convert(value)
        except (Unsuitable, RecursionError) as error:
            detail = getattr(error, "detail", "nested too deeply")
        expected = self._expected(key)
        problem = f"argument {place or key!r}: expected `{expected}`, got `{type(value).__name__}`"
        if detail:
            problem += f" ({detail[:1].lower()}{detail[1:].replace('`$', f'`{place or key}')})"
        raise ArgumentsError(self._name, f"{problem}; it is {self}", argument=place or key, expected=expected)

    def _misfit(self, text: str, kwargs: Mapping[str, Any]) -> ArgumentsError:
        """From the words of :meth:`inspect.Signature.bind`."""
        assert self._signature is not None
        known = list(self._signature.parameters)
        argument = text.rsplit("'", 2)[1] if text.count("'") >= 2 else ""
        if argument in kwargs and argument not in known and (near := near_names(argument, known, count=1)):
            text += f" (did you mean {near[0]!r}?)"
        expected = self._expected(argument) if argument in known else ""
        return ArgumentsError(self._name, f"{text}; it is {self}", argument=argument, expected=expected)

    def _expected(self, key: str) -> str:
        assert self._signature is not None
        annotation = self._signature.parameters[key].annotation
        return "" if annotation is inspect.Parameter.empty else shown(annotation)


_short = reprlib.Repr()
_short.maxother = _short.maxstring = 40


def _default(value: Any) -> Any:
    """A default value as it stands in a signature: one short line, whatever its own ``repr`` does."""
    return value if value is inspect.Parameter.empty else _Written(_short.repr(value).replace("\n", " "))


class _Written:
    """A hint that stands in a signature as it was written, also where it is a text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text

    @classmethod
    def of(cls, annotation: Any) -> Any:
        return cls(annotation) if isinstance(annotation, str) else annotation


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The hints that can be understood. They may be any expression, and name what does not exist at run time."""
    target: Any = function
    while isinstance(target, functools.partial):
        target = target.func
    if inspect.isclass(target):
        target = target.__init__
    elif not inspect.isroutine(target):
        target = getattr(target, "__call__", target)  # noqa: B004
    try:
        return typing.get_type_hints(target)
    except Exception:
        pass
    found = {}
    written = getattr(target, "__annotations__", None)
    unwrapped = inspect.unwrap(getattr(target, "__func__", target))
    for key, hint in written.items() if isinstance(written, dict) else ():
        holder = types.SimpleNamespace(__annotations__={key: hint})
        try:
            found[key] = typing.get_type_hints(holder, getattr(unwrapped, "__globals__", {}))[key]
        except Exception:
            continue
    return found


def _with_default(hint: Any, parameter: inspect.Parameter) -> Any:
    """``x: float = None`` takes None, whatever its hint says."""
    try:
        return hint | None if parameter.default is None and hint is not Any else hint
    except TypeError:
        return typing.Optional[hint]  # noqa: UP045
