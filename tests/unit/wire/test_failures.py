from typing import Any

import msgspec
import pytest

from labc import errors
from labc.errors import (
    ArgumentsError,
    CallTimeoutError,
    CarryError,
    ClosedError,
    LabcError,
    NameInvalidError,
    NotFoundError,
    OverloadedError,
    PeerLostError,
    ProtocolError,
    RefusedError,
    RemoteError,
)
from labc.wire.failures import MAX_MESSAGE_BYTES, MAX_TRACEBACK_BYTES, Failure, bounded
from labc.wire.frames import MAX_CHUNK


class MyError(Exception):
    pass


class BrokenError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def carried(error: BaseException, **more: Any) -> LabcError:
    failure = Failure.from_exception(error, host="pc2", node="camera", **more)
    return Failure.decode(failure.encode()).to_exception()


def test_an_error_of_the_function_is_a_remote_error_with_its_traceback() -> None:
    error = raised(ValueError("bad x"), cause=raised(KeyError("k")))
    error.add_note("a note")
    got = carried(error)
    assert type(got) is RemoteError
    assert (got.type, got.message, got.host, got.node) == ("ValueError", "bad x", "pc2", "camera")
    for words in ("Traceback (most recent call last)", "KeyError: 'k'", "direct cause", "a note", "in raised"):
        assert words in got.traceback


def test_other_classes_are_named_with_their_module_and_never_looked_up() -> None:
    got = carried(raised(MyError("x")))
    assert type(got) is RemoteError
    assert got.type == f"{__name__}.MyError"


OWN = [
    NotFoundError("f", near=["g", "h"], nodes=2, hosts=1, detail="why"),
    CallTimeoutError("f", 2.5, where="a on b", ran="no"),
    PeerLostError("a on b", "it died", ran="yes"),
    ArgumentsError("f", "x must be int", argument="x", expected="int"),
    CarryError("args[0]", "can't"),
    OverloadedError("too many calls"),
    RefusedError("call", "lights.on", "10.0.0.66", where="a on h1", rule='the line "lights.*" names others'),
    NameInvalidError("bad name"),
    RemoteError("mod.XError", "text", traceback="Traceback...", host="h", node="n"),
]


@pytest.mark.parametrize("error", OWN, ids=lambda e: type(e).__name__)
def test_errors_of_ours_are_themselves_again(error: LabcError) -> None:
    got = carried(error, ran="no")
    assert type(got) is type(error)
    assert str(got) == str(error)
    fields, expected = vars(got), vars(error)
    fields.pop("__notes__", None), expected.pop("__notes__", None)
    assert fields == expected


def test_what_the_function_raised_itself_says_where() -> None:
    got = carried(raised(NotFoundError("inner")), ran="yes")
    assert type(got) is NotFoundError
    assert "Raised at camera on pc2" in "".join(got.__notes__)
    assert Failure.from_exception(NotFoundError("f"), host="", node="", ran="no").ran == "no"


@pytest.mark.parametrize("error", [ClosedError("closed"), ProtocolError("x"), errors.ForkedError(), LabcError("x")])
def test_errors_about_the_provider_itself_are_remote_errors(error: LabcError) -> None:
    got = carried(error)
    assert type(got) is RemoteError
    assert got.type == f"labc.errors.{type(error).__name__}"


def test_a_subclass_of_ours_is_a_remote_error() -> None:
    assert type(carried(type("Sub", (NotFoundError,), {})("f"))) is RemoteError


def test_broken_exceptions_break_nothing() -> None:
    got = carried(raised(BrokenError()))
    assert isinstance(got, RemoteError)
    assert got.message == "<the exception's __str__ raised>"
    broken = NotFoundError("f")
    del broken.near
    assert type(carried(broken)) is RemoteError
    odd = NotFoundError("f")
    odd.nodes = object()  # type: ignore[assignment]
    assert isinstance(carried(odd), LabcError)


def test_half_characters_are_escaped() -> None:
    got = carried(raised(ValueError("a\ud800b")))
    assert isinstance(got, RemoteError)
    assert got.message == "a\\ud800b"


def test_the_largest_failure_fits_one_frame() -> None:
    text = "ü€" * 100_000
    worst = RemoteError(text, text, traceback=text, host=text, node=text)
    failure = Failure.from_exception(raised(worst), host="pc2", node="camera")
    assert len(failure.traceback.encode()) <= MAX_TRACEBACK_BYTES
    assert len(failure.message.encode()) <= MAX_MESSAGE_BYTES
    near = NotFoundError(text, near=[text] * 100, detail=text)
    for error in (worst, near):
        assert len(Failure.from_exception(raised(error), host="pc2", node="camera").encode()) < MAX_CHUNK


def test_the_middle_is_cut_out() -> None:
    text = "start" + "x" * 10_000 + "end"
    got = bounded(text, 1000)
    assert got.startswith("start")
    assert got.endswith("end")
    assert "bytes left out" in got
    assert len(got.encode()) <= 1000
    assert bounded("short", 1000) == "short"


def test_frames_of_labc_are_left_out_at_the_top() -> None:
    scope: dict[str, Any] = {"__name__": "labc.functions.run"}
    exec(compile("def run_function(f):\n    f()", "labc_internal.py", "exec"), scope)

    def user() -> None:
        raise ValueError

    try:
        scope["run_function"](user)
    except ValueError as error:
        caught = error
    caught.__traceback__ = caught.__traceback__.tb_next  # type: ignore[union-attr]
    text = Failure.from_exception(caught, host="h", node="n").traceback
    assert "in user" in text
    assert "run_function" not in text


@pytest.mark.parametrize(
    "fields", [{}, {"name": []}, {"name": "f", "near": 5}, {"self": 1}, {"nodes": 1}, {"name": "f", "ran": "perhaps"}]
)
@pytest.mark.parametrize(
    "error", ["NotFoundError", "CallTimeoutError", "PeerLostError", "RemoteError", "ProtocolError"]
)
def test_made_up_fields_give_some_error_of_ours(error: str, fields: dict[str, Any]) -> None:
    failure = Failure(error=error, type="T", message="m", traceback="", host="h", node="n", fields=fields)
    assert isinstance(failure.to_exception(), (RemoteError, NotFoundError, CallTimeoutError, PeerLostError))


def test_no_class_outside_the_list_is_built() -> None:
    failure = Failure(error="ForkedError", type="os.system", message="m", traceback="", host="h", node="n")
    assert type(failure.to_exception()) is RemoteError


def test_malformed_failures_are_protocol_errors_and_later_fields_are_ignored() -> None:
    for payload in (b"", b"\x91\x01", b"\xc0"):
        with pytest.raises(ProtocolError, match="a failure can't be read"):
            Failure.decode(payload)
    later = msgspec.msgpack.encode(["RemoteError", "T", "m", "", "h", "n", "yes", {}, "later"])
    assert str(Failure.decode(later).to_exception()) == "T: m (at n on h)"
