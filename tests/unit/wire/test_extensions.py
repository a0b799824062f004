from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from labc.errors import CarryError
from labc.wire import codec, extensions, lifting, lowering
from labc.wire.extensions import Buffer, Extension, Registry


class Spectrum:
    def __init__(self, values: bytes) -> None:
        self.values = values


class Special(Spectrum):
    pass


SPECTRUM = Extension(
    "lab.Spectrum", Spectrum, lambda s: {"v": Buffer(memoryview(s.values))}, lambda p: Spectrum(p["v"])
)


class Plugin:
    """Stands for what importlib.metadata finds."""

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value
        self.loads = 0

    def load(self) -> Any:
        self.loads += 1
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Plugin]]:
    """Plug-ins as if they were installed, and a fresh registry with labc's own types."""
    found: list[Plugin] = []
    registry = Registry()
    registry.add_all(extensions.REGISTRY._by_code.values())
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: found if group == "labc.codec" else [])
    monkeypatch.setattr(lowering, "REGISTRY", registry)
    monkeypatch.setattr(lifting, "REGISTRY", registry)
    lowering._resolved.clear()
    yield found
    lowering._resolved.clear()


def carried(value: Any) -> Any:
    body = codec.encode(value)
    return codec.decode(body.head, body.buffers)


@pytest.mark.parametrize("size", [3, 10_000])
def test_a_plugin_carries_its_type_and_subclasses(plugins: list[Plugin], size: int) -> None:
    plugins.append(Plugin("lab", [SPECTRUM]))
    for value in (Spectrum(b"a" * size), Special(b"a" * size)):
        got = carried([value])[0]
        assert type(got) is Spectrum
        assert got.values == b"a" * size
    assert plugins[0].loads == 1


def test_plugins_are_not_loaded_for_what_labc_carries_itself(plugins: list[Plugin]) -> None:
    plugins.append(Plugin("lab", SPECTRUM))
    carried([1, (2,), {3: 4j}])
    assert plugins[0].loads == 0


def test_the_receiver_loads_plugins_for_an_unknown_name(plugins: list[Plugin], monkeypatch: pytest.MonkeyPatch) -> None:
    plugins.append(Plugin("lab", SPECTRUM))
    body = codec.encode(Spectrum(b"abc"))
    fresh = Registry()
    monkeypatch.setattr(lifting, "REGISTRY", fresh)
    assert codec.decode(body.head).values == b"abc"
    plugins.clear()
    monkeypatch.setattr(lifting, "REGISTRY", Registry())
    with pytest.raises(CarryError, match=r"'lab\.Spectrum', and no codec plug-in for that is installed here"):
        codec.decode(body.head)


def test_a_broken_plugin_breaks_only_what_needs_it_and_is_named(plugins: list[Plugin]) -> None:
    plugins += [Plugin("broken", ImportError("no lib")), Plugin("lab", SPECTRUM)]
    assert carried(Spectrum(b"x")).values == b"x"
    with pytest.raises(CarryError, match="codec plug-in 'broken': ImportError: no lib"):
        codec.encode(object())


def test_errors_of_a_plugin_are_carry_errors(plugins: list[Plugin]) -> None:
    def fail(value: Any) -> Any:
        raise ZeroDivisionError("oops")

    plugins.append(Plugin("lab", Extension("lab.Spectrum", Spectrum, fail, fail)))
    with pytest.raises(CarryError, match=r"value\[0\]: oops"):
        codec.encode([Spectrum(b"")])
    body = lowering.Ext(lowering.PLUGIN, b"\x92\xaclab.Spectrum\x01")
    with pytest.raises(CarryError, match=r"malformed lab\.Spectrum: oops"):
        codec.decode(lowering._encode(body))


def test_a_name_belongs_to_one_extension() -> None:
    registry = Registry()
    registry.add(SPECTRUM)
    registry.add(SPECTRUM)
    with pytest.raises(ValueError, match=r"'lab\.Spectrum' is taken"):
        registry.add(Extension("lab.Spectrum", int, str, int))


def test_the_group_is_the_documented_one() -> None:
    assert extensions.ENTRY_POINT_GROUP == "labc.codec"
    assert EntryPoint("x", "labc.wire.standard:EXTENSIONS", "labc.codec").load()[0].name == "complex"
