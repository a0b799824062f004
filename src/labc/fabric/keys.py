"""PURE. How labc's things are named on the fabric, as Zenoh key expressions::

    labc/<network>/network/node/<id>/<host id>/<host>/<name>/<group>   token: this node is here
    labc/<network>/network/goodbye/<id>                        publication: this node leaves
    labc/<network>/network/function/<name>/<host id>/<id>      token: this node offers this function
    labc/<network>/network/narrow/<host id>/<digest>/<id>      token: the same, for nodes of its host or its group alone
    labc/<network>/network/taker/hold/<id>/<pattern>           token: this subscriber holds publishers back
    labc/<network>/network/taker/near/<id>/<host id>/<number>  token: this node has subscribers for its host alone
    labc/<network>/network/topic/<topic>                       publications
    labc/<network>/network/ask/<id>                            questions to a node: its details, its addresses
    labc/<network>/network/relay/<to>/<from>/<lane>            pieces of a lane that has no direct connection
    labc/<network>/network/root/<host id>                      token: this host's root has found the other roots
    labc/<network>/network/roots                               questions to all roots, which say nothing and are there
    labc/<network>/network/router/<Zenoh's id>                 token: the router of a root
    labc/<network>/network/keeper/<id>/<number>                token: this root keeps retained values; a new one: more
    labc/<network>/network/retained/push/<host id>             publications for this host's root: keep these values
    labc/<network>/network/retained/take/<host id>             questions to it: have you got these? and keep these
    labc/<network>/network/retained/root/<id>                  questions to a root for the values that it keeps
    labc/<network>/network/retained/node/<id>                  the same to any node that has some, be it a root or not
    labc/<network>/network/trust                               publications: whom the members of a keyed network trust

The third level is the scope. What has a narrower one has no name here: a digest stands for that of a function, which
only nodes of its host can work out, and messages go another way. Whatever a user named is percent-encoded where Zenoh's
syntax gives a character a meaning, so that any printable text is carried unharmed.
"""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from labc.directory import NodeRecord

_NONE = "-"
"""A level that says nothing, as a level can't be empty."""
_SPECIAL = re.compile(r"[/*?#$@%\x00-\x1f\x7f]")


def escape(text: str) -> str:
    """One level of a key that stands for any text; :func:`unescape` is the way back."""
    return _SPECIAL.sub(lambda match: f"%{ord(match[0]):02X}", text)


def unescape(level: str) -> str:
    """The text that :func:`escape` made into ``level``."""
    return unquote(level)


@functools.lru_cache(1024)
def _escape_topic(topic: str) -> str:
    """Levels stay levels, ``*`` and ``**`` stay wildcards, the rest is escaped.

    Zenoh wants one ``**`` at most in a row of wildcards, and behind the ``*``.
    """
    key: list[str] = []
    for wild, levels in itertools.groupby(topic.split("/"), lambda level: level in ("*", "**")):
        row = list(levels)
        if not wild:
            key += map(escape, row)
        else:
            key += ["*"] * row.count("*") + ["**"] * ("**" in row)
    return "/".join(key)


@functools.lru_cache(1024)
def _unescape_topic(key: str) -> str | None:
    levels = [unescape(level) for level in key.split("/")]
    return None if "*" in key or any("/" in level for level in levels) else "/".join(levels)


@dataclass(frozen=True)
class Keys:
    """The keys of one network, in one scope: within a site, or those that pass routers."""

    network: str
    scope: Literal["network", "wan"] = "network"

    @functools.cached_property
    def base(self) -> str:
        return f"labc/{escape(self.network)}/{self.scope}"

    def node(self, record: NodeRecord) -> str:
        names = f"{escape(record.host)}/{escape(record.name)}"
        return f"{self.base}/node/{record.id}/{record.host_id}/{names}/{record.group or _NONE}"

    @property
    def all_nodes(self) -> str:
        return f"{self.base}/node/**"

    def parse_node(self, key: str) -> NodeRecord | None:
        parts = self._parts(key, "node", 5)
        if parts is None:
            return None
        group = "" if parts[4] == _NONE else parts[4]
        return NodeRecord(parts[0], parts[1], unescape(parts[2]), unescape(parts[3]), group, self.scope == "wan")

    def goodbye(self, node_id: str) -> str:
        return f"{self.base}/goodbye/{node_id}"

    @property
    def all_goodbyes(self) -> str:
        return f"{self.base}/goodbye/*"

    def parse_goodbye(self, key: str) -> str | None:
        """The id of the node that leaves."""
        parts = self._parts(key, "goodbye", 1)
        return parts[0] if parts else None

    def function(self, name: str, record: NodeRecord) -> str:
        return f"{self.base}/function/{escape(name)}/{record.host_id}/{record.id}"

    def offers_of(self, name: str) -> str:
        return f"{self.base}/function/{escape(name)}/**"

    @property
    def all_offers(self) -> str:
        return f"{self.base}/function/**"

    def parse_function(self, key: str) -> tuple[str, str, str] | None:
        """Name, host id and node id of an offer."""
        parts = self._parts(key, "function", 3)
        return (unescape(parts[0]), parts[1], parts[2]) if parts else None

    def narrow(self, digest: str, record: NodeRecord) -> str:
        return f"{self.base}/narrow/{record.host_id}/{digest}/{record.id}"

    def narrow_offers_of(self, digest: str, host_id: str) -> str:
        return f"{self.base}/narrow/{host_id}/{digest}/*"

    def parse_narrow(self, key: str) -> tuple[str, str, str] | None:
        """Host id, digest and node id of an offer."""
        parts = self._parts(key, "narrow", 3)
        return (parts[0], parts[1], parts[2]) if parts else None

    @property
    def all_takers(self) -> str:
        return f"{self.base}/taker/**"

    def hold(self, node_id: str, pattern: str) -> str:
        return f"{self.base}/taker/hold/{node_id}/{escape(pattern)}"

    def parse_hold(self, key: str) -> tuple[str, str] | None:
        """Node id and topic pattern."""
        parts = self._parts(key, "taker/hold", 2)
        return (parts[0], unescape(parts[1])) if parts else None

    def near(self, record: NodeRecord, number: int) -> str:
        """``number``: another one after each change."""
        return f"{self.base}/taker/near/{record.id}/{record.host_id}/{number}"

    def parse_near(self, key: str) -> tuple[str, str, str] | None:
        """Node id, host id and number."""
        parts = self._parts(key, "taker/near", 3)
        return (parts[0], parts[1], parts[2]) if parts else None

    def topic(self, topic: str) -> str:
        return f"{self.base}/topic/{_escape_topic(topic)}"

    def parse_topic(self, key: str) -> str | None:
        """The topic, whatever published it. None: it is no single one, as of a key with wildcards, or it is another one
        than the levels of the key say."""
        prefix = f"{self.base}/topic/"
        return _unescape_topic(key.removeprefix(prefix)) if key.startswith(prefix) else None

    def ask(self, node_id: str) -> str:
        return f"{self.base}/ask/{node_id}"

    @property
    def ask_all(self) -> str:
        return f"{self.base}/ask/*"

    def root(self, host_id: str) -> str:
        return f"{self.base}/root/{host_id}"

    @property
    def roots(self) -> str:
        return f"{self.base}/roots"

    def router(self, zenoh_id: str) -> str:
        return f"{self.base}/router/{zenoh_id}"

    @property
    def all_routers(self) -> str:
        return f"{self.base}/router/*"

    def keeper(self, node_id: str, number: int) -> str:
        return f"{self.base}/keeper/{node_id}/{number}"

    @property
    def all_keepers(self) -> str:
        return f"{self.base}/keeper/**"

    def parse_keeper(self, key: str) -> tuple[str, str] | None:
        """Node id and number."""
        parts = self._parts(key, "keeper", 2)
        return (parts[0], parts[1]) if parts else None

    def retained_push(self, host_id: str) -> str:
        return f"{self.base}/retained/push/{host_id}"

    def retained_take(self, host_id: str) -> str:
        return f"{self.base}/retained/take/{host_id}"

    def retained_at_root(self, node_id: str) -> str:
        return f"{self.base}/retained/root/{node_id}"

    def retained_at_node(self, node_id: str) -> str:
        return f"{self.base}/retained/node/{node_id}"

    @property
    def retained_everywhere(self) -> str:
        return f"{self.base}/retained/node/*"

    @property
    def retained_at_roots(self) -> str:
        return f"{self.base}/retained/root/*"

    @property
    def trust(self) -> str:
        return f"{self.base}/trust"

    def relay(self, to: str, sender: str, lane: str) -> str:
        return f"{self.base}/relay/{to}/{sender}/{lane}"

    def relays_to(self, to: str) -> str:
        return f"{self.base}/relay/{to}/*/*"

    def parse_relay(self, key: str) -> tuple[str, str] | None:
        """The sender's node id and the lane's id."""
        parts = self._parts(key, "relay", 3)
        return (parts[1], parts[2]) if parts else None

    def _parts(self, key: str, kind: str, count: int) -> list[str] | None:
        """The levels below ``kind``; None for a key that labc did not make."""
        prefix = f"{self.base}/{kind}/"
        parts = key.removeprefix(prefix).split("/")
        return parts if key.startswith(prefix) and len(parts) == count else None
