"""Type hints are the schema: arguments are checked, and converted where that loses nothing, before a call."""

from __future__ import annotations

import difflib
import inspect
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from labc.errors import ArgumentsError

Convert = Callable[[Any], Any]
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
        self._convert = {key: _converter(hints[key]) for key in parameters if key in hints}
        self._checked = {key: convert for key, convert in self._convert.items() if convert}
        plain = [p for p in parameters.values() if p.kind in _POSITIONAL]
        self._positional = [(p.name, self._checked.get(p.name)) for p in plain]
        required = [p for p in parameters.values() if p.default is p.empty and p.kind is p.KEYWORD_ONLY]
        self._least = len(self._positional) + 1 if required else sum(p.default is p.empty for p in plain)

    def __str__(self) -> str:
        return f"{self._name}{self._signature}" if self._signature else f"{self._name}(...)"

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
            return [self._check(key, value) for (key, _), value in zip(self._positional, args, strict=False)], kwargs
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

    def _check(self, key: str, value: Any, shown: str = "") -> Any:
        convert = self._checked.get(key)
        if convert is None:
            return value
        try:
            return convert(value)
        except msgspec.ValidationError as error:
            problem = f"argument {shown or key!r}: {_lower(str(error))}"
            raise ArgumentsError(
                self._name, f"{problem}; it is {self}", argument=key, expected=_expected(str(error))
            ) from None

    def _misfit(self, text: str, kwargs: Mapping[str, Any]) -> ArgumentsError:
        """From the words of :meth:`inspect.Signature.bind`."""
        assert self._signature is not None
        known = list(self._signature.parameters)
        argument = text.rsplit("'", 2)[1] if text.count("'") >= 2 else ""
        if argument in kwargs and (near := difflib.get_close_matches(argument, known, n=1)):
            text += f" (did you mean {near[0]!r}?)"
        annotation = self._signature.parameters[argument].annotation if argument in known else inspect.Parameter.empty
        expected = "" if annotation is inspect.Parameter.empty else inspect.formatannotation(annotation)
        return ArgumentsError(self._name, f"{text}; it is {self}", argument=argument, expected=expected)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    try:
        return typing.get_type_hints(target)
    except Exception:  # hints may be any expression, and name what does not exist at run time
        return {}


def _converter(hint: Any) -> Convert | None:
    """What turns a carried value into one of this hint, or raises; None where nothing can be said."""
    if hint in (Any, object, inspect.Parameter.empty) or isinstance(hint, (typing.TypeVar, typing.ParamSpec)):
        return None
    origin = typing.get_origin(hint) or hint
    if getattr(origin, "__module__", "").split(".")[0] == "numpy":
        return _instance_check(origin)
    try:
        msgspec.convert(None, hint, strict=True)
    except msgspec.ValidationError:
        pass
    except Exception:  # a hint that msgspec has no notion of
        return _instance_check(origin) if isinstance(origin, type) and not _is_protocol(origin) else None

    def convert(value: Any) -> Any:
        try:
            return msgspec.convert(value, hint, strict=True, from_attributes=True)
        except msgspec.ValidationError:
            plain = _without_numpy(value)
            if plain is value:
                raise
            return msgspec.convert(plain, hint, strict=True, from_attributes=True)

    return convert


def _instance_check(kind: type) -> Convert:
    def check(value: Any) -> Any:
        if not isinstance(value, kind):
            raise msgspec.ValidationError(f"Expected `{kind.__qualname__}`, got `{type(value).__qualname__}`")
        return value

    return check


def _is_protocol(kind: type) -> bool:
    return getattr(kind, "_is_protocol", False)


def _without_numpy(value: Any) -> Any:
    """A numpy scalar as the Python number that a hint like ``int`` means."""
    numpy = sys.modules.get("numpy")
    return value.item() if numpy is not None and isinstance(value, numpy.generic) else value


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _expected(text: str) -> str:
    """The type in "Expected `int`, got `str`"."""
    return text.split("`")[1] if text.count("`") >= 2 else ""
