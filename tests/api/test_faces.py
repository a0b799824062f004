"""The two faces: the same verbs with the same parameters, all documented, and everything public exported."""

from __future__ import annotations

import inspect
import pydoc
import typing

import pytest

import labc
from labc import aio
from labc.node import AsyncVerbs, Face, Node, Verbs
from labc.topics import Messages

ASKING = (
    *("at", "call", "call_all", "call_publish", "forget", "functions", "get_host", "last", "nodes", "ping", "publish"),
)
FACE = (
    *ASKING,
    "close",
    "init",
    "map",
    "messages",
    "node_events",
    "register",
    "serve",
    "stream",
    "subscribe",
    "watch_nodes",
)
NOT_AWAITED = ("at", "get_host", "init", "map", "messages", "node_events", "register", "stream", "subscribe")
ITERATED = ("map", "messages", "node_events", "stream")
RETURNS_VERBS = ("at", "get_host")
HANDLES = ("map", "messages", "register", "stream", "subscribe")
"""What they return is each face's own."""
NAMESPACES = ("network", "localhost", "here")


def test_both_modules_export_the_same_verbs() -> None:
    assert {name for name in labc.__all__ if inspect.ismethod(getattr(labc, name))} == set(FACE)
    assert {name for name in aio.__all__ if inspect.ismethod(getattr(aio, name))} == set(FACE)


@pytest.mark.parametrize("verb", FACE)
def test_the_same_parameters(verb: str) -> None:
    ours, theirs = inspect.signature(getattr(labc, verb)), inspect.signature(getattr(aio, verb))
    assert list(ours.parameters.values()) == list(theirs.parameters.values())


@pytest.mark.parametrize("verb", FACE)
def test_what_is_awaited(verb: str) -> None:
    assert not inspect.iscoroutinefunction(getattr(labc, verb))
    assert inspect.iscoroutinefunction(getattr(aio, verb)) is (verb not in NOT_AWAITED)


@pytest.mark.parametrize(
    "verb", [verb for verb in FACE if verb not in (*RETURNS_VERBS, *ITERATED, "register", "subscribe")]
)
def test_they_return_the_same(verb: str) -> None:
    assert typing.get_type_hints(getattr(labc, verb))["return"] == typing.get_type_hints(getattr(aio, verb))["return"]


@pytest.mark.parametrize("verb", ASKING)
def test_what_at_returns_has_the_verbs_too(verb: str) -> None:
    expected = inspect.signature(getattr(labc, verb)).parameters
    for asking in (labc.at(timeout=1.0), aio.at(timeout=1.0), labc.Node(), labc.Node().at(timeout=1.0)):
        method = getattr(asking, verb)
        assert inspect.signature(method).parameters == expected
        assert inspect.iscoroutinefunction(method) is (verb not in RETURNS_VERBS and _is_async(asking))


@pytest.mark.parametrize("name", NAMESPACES)
def test_the_namespaces_have_every_verb(name: str) -> None:
    for owner in (labc, aio, labc.Node()):
        namespace = getattr(owner, name)
        assert type(namespace) is type(owner.at(timeout=1.0))
        for verb in (*ASKING, *HANDLES):
            method = getattr(namespace, verb)
            assert inspect.signature(method).parameters == inspect.signature(getattr(labc, verb)).parameters
            assert inspect.iscoroutinefunction(method) is (verb not in NOT_AWAITED and _is_async(namespace))


def _is_async(asking: object) -> bool:
    return isinstance(asking, AsyncVerbs)


@pytest.mark.parametrize("verb", FACE)
@pytest.mark.parametrize("module", [labc, aio])
def test_every_verb_is_documented(module: typing.Any, verb: str) -> None:
    method = getattr(module, verb)
    text = inspect.getdoc(method)
    assert text
    assert text.splitlines()[0].endswith(".") or "\n" in text
    assert text.splitlines()[0] in pydoc.render_doc(method, renderer=pydoc.plaintext)  # what help() shows
    for parameter in inspect.signature(method).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and verb != "messages":
            assert f"{parameter.name}:" in text, parameter.name


@pytest.mark.parametrize("verb", ASKING)
def test_the_faces_share_their_words(verb: str) -> None:
    texts = {inspect.getdoc(getattr(owner, verb)) for owner in (labc, aio, labc.BlockingVerbs, AsyncVerbs, Node, Verbs)}
    assert len(texts) == 1


@pytest.mark.parametrize("module", [labc, aio])
def test_what_is_exported_is_sorted_documented_and_there(module: typing.Any) -> None:
    assert module.__all__ == sorted(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        thing = getattr(module, name)
        if not name.startswith("__"):
            assert inspect.getdoc(thing), name


def test_every_error_is_exported() -> None:
    errors = {
        name for name, thing in vars(labc.errors).items() if inspect.isclass(thing) and issubclass(thing, Exception)
    }
    assert errors <= set(labc.__all__)


def test_what_verbs_return_is_exported() -> None:
    """Whatever class a user can get in his hands can be named by him."""
    seen = set()
    for verb in FACE:
        for module in (labc, aio):
            hints = typing.get_type_hints(getattr(module, verb))
            seen |= _classes(hints["return"])
    for cls in seen - {AsyncVerbs, labc.directory.NodeRecord, aio.AnyLoopMessages, aio.AnyLoopNodeEvents}:
        assert getattr(labc, cls.__name__, None) is cls, cls


def _classes(hint: typing.Any) -> set[type]:
    parts = typing.get_args(hint)
    if parts:
        return {cls for part in parts for cls in _classes(part)}
    return {hint} if isinstance(hint, type) and hint.__module__.startswith("labc.") else set()


@pytest.mark.parametrize(
    "cls",
    [
        labc.Registration,
        labc.Subscription,
        labc.CallContext,
        labc.Message,
        Messages,
        labc.BlockingMessages,
        labc.NodeEvent,
        labc.NodeEvents,
        labc.BlockingNodeEvents,
        aio.AnyLoopNodeEvents,
        labc.NodeWatch,
        Face,
    ],
)
def test_public_methods_of_what_a_user_gets_are_documented(cls: type) -> None:
    for name, thing in vars(cls).items():
        if not name.startswith("_") and (inspect.isfunction(thing) or isinstance(thing, property)):
            assert inspect.getdoc(getattr(cls, name)), f"{cls.__name__}.{name}"


def test_handles_fit_what_decorators_promise() -> None:
    """A decorated function has the signature that it had."""

    def function(a: int, *, b: str = "") -> float:
        """Text."""
        return 0.0

    from labc.functions import make_registration
    from labc.registry import Registry
    from labc.topics import make_subscription

    for handle in (
        make_registration(Registry(), function, None, None),
        make_subscription(Registry(), function, None, None, None),
    ):
        assert inspect.signature(handle) == inspect.signature(function)
        assert inspect.getdoc(handle) == "Text."
        assert handle.__wrapped__ is function
