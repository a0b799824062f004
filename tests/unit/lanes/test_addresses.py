from __future__ import annotations

import pytest

from labc.lanes.addresses import (
    interface_addresses,
    reachable,
    tcp_address,
    tcp_endpoint,
    unix_address,
    unix_path,
    usable_ips,
)


@pytest.mark.parametrize("host", ["10.0.0.5", "fd00::1"])
def test_an_address_tells_its_endpoint(host: str) -> None:
    assert tcp_endpoint(tcp_address(host, 4000)) == (host, 4000)
    assert unix_path(tcp_address(host, 4000)) is None


def test_unix_addresses_are_abstract() -> None:
    assert unix_path(unix_address("ab12")) == "\0labc-ab12"
    assert unix_path("unix//tmp/x") == "/tmp/x"
    assert tcp_endpoint(unix_address("ab12")) is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "tcp/",
        "tcp/host",
        "tcp/host:80",
        "tcp/10.0.0.1:0",
        "tcp/10.0.0.1:99999",
        "tcp/:80",
        "udp/10.0.0.1:1",
        "tcp/10.0.0.1:x",
    ],
)
def test_what_is_no_address_is_none(address: str) -> None:
    assert tcp_endpoint(address) is None


def test_only_what_others_can_reach_is_told_ipv4_first() -> None:
    ips = [
        "fd00::2",
        "127.0.0.1",
        "::1",
        "169.254.1.1",
        "fe80::1%eth0",
        "192.168.1.5",
        "10.0.0.5",
        "10.0.0.5",
        "0.0.0.0",
    ]
    assert usable_ips(ips) == ["10.0.0.5", "192.168.1.5", "fd00::2"]


def test_loopback_leads_only_to_the_own_host() -> None:
    addresses = ["tcp/10.0.0.5:1", "tcp/[fd00::2]:1", "tcp/127.0.0.1:1", "new/kind"]
    assert reachable(addresses, same_host=True) == ["tcp/127.0.0.1:1", "new/kind"]
    assert reachable(addresses, same_host=False) == ["tcp/10.0.0.5:1", "tcp/[fd00::2]:1", "new/kind"]


def test_the_addresses_of_this_machine_can_be_read() -> None:
    found = interface_addresses()
    assert "127.0.0.1" in [each.address for each in found]
    assert all(each.interface and ("." in each.address or ":" in each.address or not each.address) for each in found)
