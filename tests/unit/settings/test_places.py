"""Hosts and ranges of addresses as the settings have them."""

from __future__ import annotations

import pytest

from labc.errors import SettingsError
from labc.settings import (
    HostPlace,
    RouterPlace,
    Settings,
    address_range,
    host_place,
    port_range,
    router_place,
)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("10.0.0.5", HostPlace("10.0.0.5", None)),
        (" lab3 ", HostPlace("lab3", None)),
        ("lab3.local:55555", HostPlace("lab3.local", 55555)),
        ("10.0.0.5:1", HostPlace("10.0.0.5", 1)),
        ("größe.example", HostPlace("größe.example", None)),
    ],
)
def test_hosts(text: str, place: HostPlace) -> None:
    assert host_place(text) == place


@pytest.mark.parametrize(
    "text",
    ["", ":1", "a b", "lab3:", "lab3:0", "lab3:70000", "lab3:x", "10.0.0", "10.0.0.256", "::1", "[::1]:5", "a/b"],
)
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ValueError):
        host_place(text)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("10.0.0.0/30", ["10.0.0.1", "10.0.0.2"]),
        ("10.0.0.7/31", ["10.0.0.6", "10.0.0.7"]),
        ("10.0.0.7/32", ["10.0.0.7"]),
        ("10.0.0.7", ["10.0.0.7"]),
        ("10.0.0.254-10.0.1.1", ["10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1"]),
        ("10.0.0.1 - 10.0.0.2:99", ["10.0.0.1", "10.0.0.2"]),
    ],
)
def test_ranges(text: str, addresses: list[str]) -> None:
    found = address_range(text)
    assert list(found.addresses()) == addresses
    assert found.size == len(addresses)
    assert found.port == (99 if ":" in text else None)


@pytest.mark.parametrize(
    "text", ["", "lab3", "10.0.0.0/33", "10.0.0.0/", "10.0.0.9-10.0.0.1", "10.0.0.1-", "1.2.3.4-x", "10.0.0/24"]
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError):
        address_range(text)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("", None),
        (" ", None),
        ("50000", range(50000, 50001)),
        ("50000-50100", range(50000, 50101)),
        (" 1 - 65535 ", range(1, 65536)),
        ("7-7", range(7, 8)),
    ],
)
def test_ports(text: str, ports: range | None) -> None:
    assert port_range(text) == ports


@pytest.mark.parametrize("text", ["0", "65536", "50100-50000", "50000-", "-50000", "5-x", "1-2-3", "50000,50001", "٣"])
def test_what_are_no_ports(text: str) -> None:
    with pytest.raises(ValueError):
        port_range(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("server.example", RouterPlace(None, "server.example", 55554)),
        (" 10.0.0.5:1 ", RouterPlace(None, "10.0.0.5", 1)),
        ("tcp/lab3", RouterPlace("tcp", "lab3", 55554)),
        ("tls/lab3:99", RouterPlace("tls", "lab3", 99)),
    ],
)
def test_routers(text: str, place: RouterPlace) -> None:
    assert router_place(text) == place


@pytest.mark.parametrize(
    "text", ["", "/lab3", "udp/lab3", "tcp/", "tcp//lab3", "lab3/tcp", "tcp/lab3:0", "tls/[::1]:5"]
)
def test_what_is_no_router(text: str) -> None:
    with pytest.raises(ValueError):
        router_place(text)
    with pytest.raises(SettingsError, match=r"routers=.*expected a list .* like \"server.example\" or \"tcp/"):
        Settings.load({}, routers=[text])


def test_a_large_range_needs_a_yes() -> None:
    with pytest.raises(
        SettingsError, match=r"65534 addresses, and more than 4096 .* scan_large=true: .* LABC_SCAN_RANGES"
    ):
        Settings.load({"LABC_SCAN_RANGES": "10.1.0.0/16"})
    with pytest.raises(SettingsError, match="more than 4096"):
        Settings.load({"LABC_SCAN_RANGES": ",".join(f"10.1.{n}.0/24" for n in range(17))})
    settings = Settings.load({"LABC_SCAN_RANGES": "10.1.0.0/16", "LABC_SCAN_LARGE": "yes"})
    assert settings.scan_ranges == ("10.1.0.0/16",)
    assert Settings.load({"LABC_SCAN_RANGES": "10.1.0.0/20"}).scan_large is False


def test_lists_from_variables_and_arguments() -> None:
    settings = Settings.load({"LABC_DISCOVERY": "scan, hosts", "LABC_HOSTS": '["10.0.0.5", "lab3"]'})
    assert settings.discovery == ("scan", "hosts")
    assert settings.hosts == ("10.0.0.5", "lab3")
    assert Settings.load({}, hosts=["b", "a", "b"]).hosts == ("b", "a")
    assert Settings.load({}, discovery=[]).discovery == ()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"discovery": ["telepathy"]}, "'multicast' or 'remembered' or 'hosts' or 'scan'"),
        ({"discovery": "scan"}, "a list of at most 10"),
        ({"hosts": ["fe80::1"]}, 'like "10.0.0.5", "lab3" or "lab3:55555"'),
        ({"hosts": [5]}, "a list of at most 256"),
        ({"hosts": ["h"] * 257}, "at most 256"),
        ({"lane_ports": "50100-50000"}, "lane_ports='50100-50000': expected a text like \"50000-50100\", or an empty"),
        ({"lane_ports": 50000}, 'a text like "50000-50100"'),
        ({"scan_rate": 0}, "a number from 1 to 100000"),
        ({"scan_large": 1}, "true or false"),
    ],
)
def test_bad_values_are_refused(arguments: dict[str, object], expected: str) -> None:
    with pytest.raises(SettingsError) as failure:
        Settings.load({}, **arguments)
    assert expected in str(failure.value)
