"""Which interfaces are used, by the setting ``interfaces``."""

from __future__ import annotations

import pytest

from labc.errors import SettingsError
from labc.settings import InterfaceAddress, Interfaces, Settings
from labc.settings.interfaces import interface_entry

HOST = [
    InterfaceAddress("lo", "127.0.0.1"),
    InterfaceAddress("lo", "::1"),
    InterfaceAddress("eth0", "10.0.0.5"),
    InterfaceAddress("eth0", "fd00::5"),
    InterfaceAddress("eth0", "fe80::5%eth0"),
    InterfaceAddress("eth0:1", "10.0.0.6"),
    InterfaceAddress("wlan0", ""),
    InterfaceAddress("docker0", "172.17.0.1"),
]


def used(*entries: str) -> list[str]:
    """Of the addresses of HOST that are not loopback, as loopback is used whatever they say."""
    interfaces = Interfaces(entries)
    assert all(interfaces.use(*each) for each in HOST[:2])
    return [each.address.partition("%")[0] for each in HOST[2:] if each.address and interfaces.use(*each)]


@pytest.mark.parametrize(
    ("entries", "addresses"),
    [
        ((), ["10.0.0.5", "fd00::5", "fe80::5", "10.0.0.6", "172.17.0.1"]),
        (("eth0",), ["10.0.0.5", "fd00::5", "fe80::5", "10.0.0.6"]),
        (("eth0:1",), ["10.0.0.6"]),
        (("eth",), []),
        (("10.0.0.0/24",), ["10.0.0.5", "10.0.0.6"]),
        (("10.0.0.99/24",), ["10.0.0.5", "10.0.0.6"]),
        (("10.0.0.5",), ["10.0.0.5"]),
        (("fd00::/16",), ["fd00::5"]),
        (("10.0.0.5", "docker0"), ["10.0.0.5", "172.17.0.1"]),
        (("!docker0",), ["10.0.0.5", "fd00::5", "fe80::5", "10.0.0.6"]),
        (("! 172.16.0.0/12",), ["10.0.0.5", "fd00::5", "fe80::5", "10.0.0.6"]),
        (("!fe80::/10", "!eth0:1", "!docker0"), ["10.0.0.5", "fd00::5"]),
        (("eth0", "!10.0.0.6"), ["10.0.0.5", "fd00::5", "fe80::5"]),
        (("!10.0.0.6", "10.0.0.0/24"), ["10.0.0.5"]),
        (("eth0", "!eth0"), []),
        (("lo",), []),
        (("!lo", "!127.0.0.0/8", "!::1", "docker0"), ["172.17.0.1"]),
        (("0.0.0.0/0",), ["10.0.0.5", "10.0.0.6", "172.17.0.1"]),
    ],
)
def test_what_is_used(entries: tuple[str, ...], addresses: list[str]) -> None:
    assert used(*entries) == addresses


@pytest.mark.parametrize("text", ["eth0", "enp3s0", "br-0123456789ab", "Wi-Fi", "Ethernet 2", "veth@if5", "1000"])
def test_names(text: str) -> None:
    for entry, avoided in ((text, False), ("!" + text, True)):
        avoid, what = interface_entry(entry)
        assert (avoid, what.name, what.subnet) == (avoided, text, None)


@pytest.mark.parametrize(
    "text",
    ["", " ", "!", "!!eth0", "10.0.0", "10.0.0.256", "10.0.0.0/33", "10.0.0.1-10.0.0.9", "eth0/24", "fe80::x", "a\nb"],
)
def test_what_is_no_entry(text: str) -> None:
    with pytest.raises(ValueError):
        interface_entry(text)


def test_an_address_in_full_is_no_name() -> None:
    assert str(interface_entry("fd00:1:2:3:4:5:6:7")[1].subnet) == "fd00:1:2:3:4:5:6:7/128"


def test_the_setting() -> None:
    settings = Settings.load({"LABC_INTERFACES": "eth0, 10.0.0.0/24, !docker0"})
    assert settings.interfaces == ("eth0", "10.0.0.0/24", "!docker0")
    with pytest.raises(SettingsError, match=r"LABC_INTERFACES='10\.0\.0': expected .* each a text like \"eth0\""):
        Settings.load({"LABC_INTERFACES": "10.0.0"})
    with pytest.raises(SettingsError, match="argument interfaces='eth0': expected a list of at most 256"):
        Settings.load({}, interfaces="eth0")


def remarks(*entries: str, present: list[InterfaceAddress] = HOST) -> list[tuple[str, bool]]:
    return [tuple(each) for each in Interfaces(entries).remarks(present)]


@pytest.mark.parametrize("entries", [(), ("eth0",), ("!docker0",), ("10.0.0.0/24", "!wlan0"), ("lo",), ("127.0.0.1",)])
def test_what_needs_no_remark(entries: tuple[str, ...]) -> None:
    assert remarks(*entries) == []


def test_remarks() -> None:
    assert remarks("eth0", "eth9") == [
        (
            "the setting interfaces names 'eth9', which is not there now (lo, eth0, eth0:1, wlan0, docker0); it is "
            "used when it comes",
            True,
        )
    ]
    assert remarks("!podman0") == [
        ("the setting interfaces avoids 'podman0', which is not there now (lo, eth0, eth0:1, wlan0, docker0)", False)
    ]
    none = "allows none of this computer's addresses (10.0.0.5 of eth0, "
    for entries in (("wlan0",), ("10.9.0.0/16",), ("!eth0", "!docker0")):
        [(sentence, matters)] = remarks(*entries)
        assert matters
        assert none in sentence
    assert remarks("10.9.0.0/16", present=HOST[:2]) == [], "it has no address at all"
