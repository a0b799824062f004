"""PURE. What the engine is told in a network with a key, and where such a network lives.

TLS with certificates of both ends is not enough: as a client the engine also takes servers with a certificate of any
public authority (Zenoh 1.10.2 adds them to the network's own, and can't be told not to). From a node to the root of
its host it looks at the name in it, 127.0.0.1, for which none is signed. Between hosts it does not, as they have no
names that they keep; there only links whose other end has the members' common name in its certificate are for
messages. (Names of functions, topics and nodes go over a link before that is asked; values do not.)
"""

from __future__ import annotations

from typing import Any

from labc.security import Credentials
from labc.settings import Settings

_MESSAGES = (
    "put delete query reply declare_subscriber declare_queryable liveliness_token liveliness_query "
    "declare_liveliness_subscriber"
).split()
"""All kinds that the engine's access control knows."""


def realm(settings: Settings, credentials: Credentials | None) -> str:
    """What ports, multicast address and ids follow from: the network's name, and its key if it has one."""
    return credentials.realm if credentials else settings.network


def protocol(credentials: Credentials | None) -> str:
    return "tls" if credentials else "tcp"


def secured(credentials: Credentials | None, *, locally: bool, only: str = "") -> dict[str, Any]:
    """Values for the engine's configuration; none for an open network without ``only``.

    ``locally``: it only links to 127.0.0.1, which is in all members' certificates. ``only``: what else has another key
    passes no link.
    """
    if credentials is None:
        return {"access_control": _access({"id": "all"}, only)} if only else {}
    return {
        "transport/link/protocols": ["tls"],
        "transport/link/tls": {
            "root_ca_certificate": str(credentials.trust),
            "enable_mtls": True,
            "listen_private_key": str(credentials.key),
            "listen_certificate": str(credentials.certificate),
            "connect_private_key": str(credentials.key),
            "connect_certificate": str(credentials.certificate),
            "verify_name_on_connect": locally,
            "close_link_on_expiration": True,
        },
        "access_control": _access({"id": "members", "cert_common_names": [credentials.common_name]}, only or "**"),
    }


def _access(subject: dict[str, Any], keys: str) -> dict[str, Any]:
    rule = {"id": "all", "permission": "allow", "flows": ["ingress", "egress"], "messages": _MESSAGES}
    return {
        "enabled": True,
        "default_permission": "deny",
        "rules": [{**rule, "key_exprs": [keys]}],
        "subjects": [subject],
        "policies": [{"rules": ["all"], "subjects": [subject["id"]]}],
    }
