"""How the help differs from typer's: flags have no type."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup, TyperOption


class Verb(TyperCommand):
    """A verb of ``labc``."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _described(super().get_params(ctx))


class Program(TyperGroup):
    """``labc`` itself."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _described(super().get_params(ctx))


def _described(params: list[Any]) -> list[Any]:
    for param in params:
        if isinstance(param, TyperOption) and (param.is_flag or param.count):
            param.metavar = ""  # else it would be <bool>
    return params
