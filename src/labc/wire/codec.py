"""Python values to bytes and back, with their types kept.

msgspec encodes tuples, sets, UUIDs and many more as if they were lists and text, and asks no hook about them.
So a value is first walked: what is plain (the types of msgpack) is left as it is, in most cases after one check at
C speed for a whole container; the rest is replaced by msgpack extensions. Large buffers stay out of the bytes:
they travel beside them, uncopied.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from labc.errors import CarryError
from labc.wire.frames import Data
from labc.wire.lifting import Lifting, lift_without_buffers
from labc.wire.lowering import INLINE_BYTES_OBJECT, PLAIN, Lowering, Unfit

_MALFORMED = (
    msgspec.MsgspecError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    BufferError,
    MemoryError,
)
"""What decoding can raise. Not just any exception: a signal handler's is not about the value."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ext_hook=lift_without_buffers).decode


class Body(msgspec.Struct, frozen=True, gc=False):
    """An encoded value: its bytes, and the large buffers that travel beside them, uncopied.

    The buffers are views of the value's own memory: it must not change until they are sent.
    """

    head: bytes
    buffers: tuple[memoryview, ...] = ()

    @property
    def size(self) -> int:
        """In bytes, with the buffers."""
        return len(self.head) + sum(buffer.nbytes for buffer in self.buffers)


def encode(value: Any, where: str = "value") -> Body:
    """Encode a value; ``where`` is what it is called in an error.

    Raises:
        CarryError: something in it can't be carried; the message names its place: ``value[2].frames``.
    """
    try:
        if type(value) in PLAIN or _is_short(value):
            return Body(_encode(value))
    except (OverflowError, UnicodeEncodeError):
        pass  # _carry tells its place
    return _carry(lambda lowering: lowering.lower_part(where, value))


def encode_parts(*parts: tuple[str, Any], streams: list[Any] | None = None) -> Body:
    """Encode several values as one list; each comes with what it is called in an error. ``streams``: gets those
    `StreamSource` that are in them; without it, they can't be carried.

    Raises:
        CarryError: as for `encode`.
    """
    return _carry(lambda lowering: [lowering.lower_part(where, value) for where, value in parts], streams)


def encode_plain(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Body | None:
    """``[args, kwargs]``, if a glance tells that there is nothing to walk through; else None."""
    try:
        if _all_plain(args) and (not kwargs or _all_plain(kwargs.values())):
            return Body(_encode((args, kwargs)))
    except (OverflowError, UnicodeEncodeError):
        pass
    return None


def _all_plain(values: Collection[Any]) -> bool:
    for each in values:  # noqa: SIM110 - a generator takes twice as long
        if type(each) not in PLAIN and not _is_short(each):
            return False
    return True


def _is_short(value: Any) -> bool:
    """Whether it is bytes that stand among the others, as msgpack has them."""
    return type(value) is bytes and len(value) < INLINE_BYTES_OBJECT


def decode(
    head: msgspec.Raw | Data, buffers: Sequence[Data] = (), where: str = "value", streams: Sequence[Any] = ()
) -> Any:
    """The value, a new object. Arrays are read-only and lie in the buffers, which must not change. ``streams``: what
    stands in it for the first `StreamSource`, the second and so on.

    Raises:
        CarryError: it can't be decoded here: a type or plug-in is missing, or it is malformed.
    """
    try:
        if not (buffers or streams):
            return _decode(head)
        lifting = Lifting(buffers, streams)
        return msgspec.msgpack.decode(head, ext_hook=lifting.lift)
    except RecursionError:
        raise CarryError(where, "nested too deeply") from None
    except Unfit as unfit:
        raise CarryError(where, unfit.problem) from unfit.__cause__
    except _MALFORMED as error:
        raise CarryError(where, f"can't be decoded: {error}") from error


def _carry(build: Callable[[Lowering], Any], streams: list[Any] | None = None) -> Body:
    """Encode quickly; if that trips over an unusual number or text, once more with a look at each."""
    try:
        try:
            lowering = Lowering(PLAIN, streams)
            return Body(_encode(build(lowering)), tuple(lowering.buffers))
        except (OverflowError, UnicodeEncodeError):
            if streams is not None:
                streams.clear()
            lowering = Lowering(PLAIN - {int, str}, streams)
            return Body(_encode(build(lowering)), tuple(lowering.buffers))
    except Unfit as unfit:
        raise CarryError(unfit.where, unfit.problem) from unfit.__cause__
    except RecursionError:
        raise CarryError("value", "nested too deeply, or contains itself") from None
