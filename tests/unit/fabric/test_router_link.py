"""What the setting ``routers`` says to the engine, and what the engine says of the link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from keyed import make_members

from labc.errors import SettingsError
from labc.fabric.keyed import secured
from labc.fabric.router_link import RouterLink, router_endpoints
from labc.settings import Settings


def test_an_open_network_has_tcp(tmp_path: Path) -> None:
    settings = Settings.load({}, network="lab", routers=["server.example", "tcp/10.0.0.5:1"])
    assert router_endpoints(settings, None) == ["tcp/server.example:55554", "tcp/10.0.0.5:1"]
    wrong = Settings.load({}, network="lab", routers=["server.example", "tls/10.0.0.5:1"])
    expected = r"routers: tls/10.0.0.5:1: the network 'lab' has no key, .* speak tcp; expected tcp/10.0.0.5:1$"
    with pytest.raises(SettingsError, match=expected):
        router_endpoints(wrong, None)


def test_a_network_with_a_key_has_tls(tmp_path: Path) -> None:
    credentials = make_members(tmp_path, "lab", ["h1"])["h1"]
    settings = Settings.load({}, network="lab", routers=["server.example", "tls/10.0.0.5:1"])
    assert router_endpoints(settings, credentials) == ["tls/server.example:55554", "tls/10.0.0.5:1"]
    wrong = Settings.load({}, network="lab", routers=["tcp/10.0.0.5:1"])
    with pytest.raises(SettingsError, match=r"the network 'lab' has a key, .* speak tls; expected tls/10.0.0.5:1$"):
        router_endpoints(wrong, credentials)


def test_what_a_router_lets_pass(tmp_path: Path) -> None:
    credentials = make_members(tmp_path, "lab", ["h1"])["h1"]
    for found in (secured(None, locally=False, only="a/**"), secured(credentials, locally=False, only="a/**")):
        access = found["access_control"]
        assert access["enabled"]
        assert access["default_permission"] == "deny"
        assert [rule["key_exprs"] for rule in access["rules"]] == [["a/**"]]
        assert [policy["subjects"] for policy in access["policies"]] == [[each["id"] for each in access["subjects"]]]
    assert access["subjects"][0]["cert_common_names"] == [credentials.common_name]
    assert secured(None, locally=False) == {}


def test_a_link_that_was_lost_is_told_also_when_it_is_there_again() -> None:
    """The engine tells of both at once. What comes of an older session is nobody's business any more."""
    told: list[bool] = []
    settings = Settings.load({}, network="lab", routers=["server.example"])
    unused: Any = None
    link = RouterLink(settings, None, unused, lambda: None, told.append)
    session: Any = object()
    link._late.session = session
    link._link_events(session, [True, False, True])
    link._link_events(session, [True])
    link._link_events(unused, [False])
    assert told == [True, False, True]
    assert link.linked
