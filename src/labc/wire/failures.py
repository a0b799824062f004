"""Exceptions on their way to the caller."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Any, Final

import msgspec

from labc.errors import (
    ArgumentsError,
    CallTimeoutError,
    CarryError,
    FilesError,
    LabcError,
    NameInvalidError,
    NotFoundError,
    OverloadedError,
    PeerLostError,
    ProtocolError,
    Ran,
    RefusedError,
    RemoteError,
)
from labc.wire.frames import Data

MAX_TRACEBACK_BYTES: Final = 64 << 10
MAX_MESSAGE_BYTES: Final = 8 << 10
"""Small enough for any failure to fit one frame."""

_FIELDS: Final[dict[type[LabcError], tuple[str, ...]]] = {
    NotFoundError: ("name", "near", "nodes", "hosts", "detail", "kind"),
    CallTimeoutError: ("name", "timeout", "where", "ran"),
    PeerLostError: ("where", "reason", "ran"),
    ArgumentsError: ("function", "problem", "argument", "expected"),
    CarryError: ("where", "problem"),
    RemoteError: ("type", "message", "traceback", "host", "node"),
    OverloadedError: (),
    RefusedError: ("verb", "name", "who", "where", "rule"),
    FilesError: (),
    NameInvalidError: (),
}
"""The errors that are themselves again at the caller, and the fields they are built from (none: their message).
Others of ours are about the state of the process that raises them, and reach the caller as RemoteError."""

_LIMITS: Final = {"traceback": MAX_TRACEBACK_BYTES}
_CLASSES: Final = {error.__name__: error for error in _FIELDS}


class Failure(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Why a call gave no result. Further fields at its end, of later versions, are ignored."""

    error: str
    """``RemoteError``, or which other of labc's errors it is. No other class is ever looked up."""

    type: str
    """The exception's class, as a traceback shows it: ``ValueError``, ``mymod.MyError``."""

    message: str
    traceback: str
    host: str
    node: str
    ran: Ran = "yes"
    """What is known of the function: did it run?"""

    fields: dict[str, Any] = {}
    """What the error is built from, for labc's own."""

    @classmethod
    def from_exception(cls, error: BaseException, *, host: str, node: str, ran: Ran = "yes") -> Failure:
        """Describe ``error``, raised at ``node`` on ``host``. Never raises, however broken the exception is."""
        fields = _fields(error)
        return cls(
            error="RemoteError" if fields is None else type(error).__name__,
            type=bounded(_type_name(error), MAX_MESSAGE_BYTES),
            message=bounded(_text(error), MAX_MESSAGE_BYTES),
            traceback=bounded(_traceback(error), MAX_TRACEBACK_BYTES),
            host=host,
            node=node,
            ran=ran,
            fields=fields or {},
        )

    def to_exception(self) -> LabcError:
        """The exception to raise at the caller: labc's own as it was, any other as RemoteError."""
        error = _rebuilt(self) if self.error in _CLASSES else None
        if error is None:
            return RemoteError(self.type, self.message, traceback=self.traceback, host=self.host, node=self.node)
        if self.ran == "yes" and self.traceback:
            error.add_note(f"\nRaised at {self.node} on {self.host}:\n{self.traceback}".rstrip())
        return error

    def encode(self) -> bytes:
        """The payload of a FAILURE frame, or of an END."""
        return _encode(self)

    @classmethod
    def decode(cls, payload: Data) -> Failure:
        """The failure in a frame.

        Raises:
            ProtocolError: the payload is no failure.
        """
        try:
            return _decode(payload)
        except Exception as error:
            raise ProtocolError(f"a failure can't be read: {error}") from error


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Failure).decode


def bounded(text: str, limit: int) -> str:
    """The text as UTF-8 can carry it, its middle cut out if it is longer than ``limit`` bytes."""
    data = str.encode(text, errors="backslashreplace")
    if len(data) <= limit:
        return data.decode()
    half = (limit - 64) // 2
    first, last = data[:half].decode(errors="ignore"), data[-half:].decode(errors="ignore")
    return f"{first}\n… {len(data) - 2 * half} bytes left out …\n{last}"


def _rebuilt(failure: Failure) -> LabcError | None:
    cls = _CLASSES[failure.error]
    fields = {name: value for name, value in failure.fields.items() if name in _FIELDS[cls]}
    try:
        if not _FIELDS[cls]:
            return cls(failure.message)
        return cls(**fields)
    except Exception:
        return None  # fields of a later version, or made up: the text is still worth showing


def _fields(error: BaseException) -> dict[str, Any] | None:
    """The fields of one of labc's own errors, as far as they are plain and small; None: it travels as RemoteError."""
    names = _FIELDS.get(type(error))  # type: ignore[arg-type]
    if names is None:
        return None
    try:
        return {name: _plain(getattr(error, name), _LIMITS.get(name, MAX_MESSAGE_BYTES)) for name in names}
    except Exception:
        return None


def _plain(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return bounded(value, limit)
    if isinstance(value, (int, float)):
        return float(value) if isinstance(value, float) or value.bit_length() > 63 else int(value)
    return [bounded(str(item), 1 << 10) for item in value][:16]


def _type_name(error: BaseException) -> str:
    cls = type(error)
    return cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "<the exception's __str__ raised>"


def _traceback(error: BaseException) -> str:
    """The traceback with causes and notes, beginning in the user's function."""
    if error.__traceback__ is None:
        return ""
    try:
        return "".join(traceback.format_exception(type(error), error, _below_labc(error.__traceback__)))
    except Exception as problem:
        return f"<the traceback can't be shown: {type(problem).__name__}>"


def _below_labc(top: TracebackType) -> TracebackType:
    """Without the frames of labc that led to the function; all of them if there is nothing else."""
    frame: TracebackType | None = top
    while frame is not None:
        if not str(frame.tb_frame.f_globals.get("__name__", "")).startswith("labc."):
            return frame
        frame = frame.tb_next
    return top
