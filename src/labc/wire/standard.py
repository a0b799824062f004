"""How the standard library's value types are carried."""

from __future__ import annotations

import re
import sys
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any, Final, TypeVar
from uuid import UUID

from labc.wire.extensions import Extension

_Moment = TypeVar("_Moment", datetime, time)
_ZONE_KEY: Final = re.compile(r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,2}")


def _pack_moment(value: datetime | time) -> list[Any]:
    """Text, the fold, and the key of the time zone if it has one."""
    key = _zone_key(value.tzinfo)
    if key is not None:
        return [value.replace(tzinfo=None).isoformat(), value.fold, key, _offset_text(value)]
    return [value.isoformat(), value.fold]


def _zone_key(zone: tzinfo | None) -> str | None:
    """Of a time zone that is known by name."""
    # Who has such a zone has imported the module, and not only half, as another thread may have; others need not.
    zone_info = zone and getattr(sys.modules.get("zoneinfo"), "ZoneInfo", None)
    key = zone.key if zone_info and isinstance(zone, zone_info) else None
    return key if isinstance(key, str) else None


def _offset_text(value: datetime | time) -> str:
    """What replaces a time zone that the receiver doesn't know."""
    offset = value.utcoffset()
    return "" if offset is None else value.isoformat()[len(value.replace(tzinfo=None).isoformat()) :]


def _unpack_datetime(packed: Any) -> datetime:
    return _moment(datetime, *packed)


def _unpack_time(packed: Any) -> time:
    return _moment(time, *packed)


def _moment(cls: type[_Moment], text: str, fold: int, key: str = "", offset: str = "") -> _Moment:
    """The moment in its time zone, or at least at its offset if the zone is not known here."""
    if _ZONE_KEY.fullmatch(key):  # ZoneInfo opens a file of that name: let it see nothing but names
        from zoneinfo import ZoneInfo  # see _zone_key

        try:
            return cls.fromisoformat(text).replace(fold=fold, tzinfo=ZoneInfo(key))
        except (ValueError, LookupError, OSError):
            pass
    return cls.fromisoformat(text + offset).replace(fold=fold)


def _pack_path(value: PurePath) -> bytes:
    # A file name is bytes; surrogateescape is how Python holds those that are no UTF-8.
    return value.as_posix().encode(errors="surrogateescape")


def _pack_integer(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


INTEGER: Final = Extension(
    "int", int, _pack_integer, lambda packed: int.from_bytes(packed, "big", signed=True), code=16
)
"""For integers beyond the 64 bits of msgpack."""

EXTENSIONS: Final = (
    Extension("complex", complex, lambda z: [z.real, z.imag], lambda packed: complex(*map(float, packed)), code=17),
    Extension("Decimal", Decimal, str, lambda packed: Decimal(_text(packed)), code=18),
    Extension("UUID", UUID, lambda uuid: uuid.bytes, lambda packed: UUID(bytes=packed), code=19),
    Extension("datetime", datetime, _pack_moment, _unpack_datetime, code=20),
    Extension("date", date, date.isoformat, date.fromisoformat, code=21),
    Extension("time", time, _pack_moment, _unpack_time, code=22),
    Extension(
        "timedelta",
        timedelta,
        lambda span: [span.days, span.seconds, span.microseconds],
        lambda packed: timedelta(*packed),
        code=23,
    ),
    Extension("Path", PurePath, _pack_path, lambda packed: Path(packed.decode(errors="surrogateescape")), code=24),
    Extension("range", range, lambda r: [r.start, r.stop, r.step], lambda packed: range(*packed), code=25),
    Extension("slice", slice, lambda s: [s.start, s.stop, s.step], lambda packed: slice(*packed), code=26),
)


def _text(packed: Any) -> str:
    if type(packed) is not str:
        raise TypeError(f"expected text, got {type(packed)}")
    return packed
