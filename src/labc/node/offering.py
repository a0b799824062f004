"""What this node offers, and how the others know of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from labc.directory import NodeRecord, is_narrow
from labc.fabric import Declared, Fabric
from labc.functions import Registration
from labc.node.details import Catalogue, FunctionDetails
from labc.node.identity import secret_digest

AnyRegistration = Registration[..., Any]


class Offering:
    """The functions of the node ``here``; ``later`` runs jobs one after the other, on the loop."""

    def __init__(self, here: NodeRecord, fabric: Fabric, later: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._here = here
        self._fabric = fabric
        self._later = later
        self._by_name: dict[str, AnyRegistration] = {}
        self._tokens: dict[str, tuple[str, Declared]] = {}
        """By name: the key and the token of what this node says that it offers."""

    def find(self, name: str) -> AnyRegistration | None:
        return self._by_name.get(name)

    def all(self) -> list[AnyRegistration]:
        """From any thread."""
        return list(self._by_name.values())

    def catalogue(self) -> Catalogue:
        """What everybody may know."""
        listed = [registration for registration in self.all() if registration.listed]
        open_to_all = [_details(registration) for registration in listed if not is_narrow(registration.scope)]
        return Catalogue(self._here.id, open_to_all, len(open_to_all) < len(listed))

    def count(self) -> int:
        """How many functions everybody may know of."""
        return sum(registration.listed and not is_narrow(registration.scope) for registration in self.all())

    def changed(self, registration: AnyRegistration, added: bool) -> None:
        """From any thread. Calls from this node see it at once, others when the fabric has spread it."""
        name = registration.name
        if added:
            self._by_name[name] = registration
            self._later(self._declare(name))
        elif self._by_name.get(name) is registration:
            del self._by_name[name]
            self._later(self._withdraw(name))

    def digests(self, name: str) -> list[str]:
        """What stands for a name that is offered to this host, or to this node's group, alone."""
        found = [secret_digest("host", name)]
        return [*found, self._group_digest(name)] if self._here.group else found

    def _group_digest(self, name: str) -> str:
        return secret_digest("group", self._here.group, name)

    def _key(self, registration: AnyRegistration) -> str | None:
        """Of the token that says that it is offered; None: nobody else shall know."""
        name, keys = registration.name, self._fabric.keys
        match registration.scope:
            case "network":
                return keys.function(name, self._here)
            case "host":
                return keys.narrow(secret_digest("host", name), self._here)
            case "group" if self._here.group:
                return keys.narrow(self._group_digest(name), self._here)
        return None

    async def _declare(self, name: str) -> None:
        registration = self._by_name.get(name)
        key = self._key(registration) if registration is not None and registration.listed else None
        old = self._tokens.get(name)
        if old is not None and old[0] == key:
            return
        await self._withdraw(name)  # first, or others take its end for that of the new one
        if key is not None:
            self._tokens[name] = (key, await self._fabric.declare_token(key))

    async def _withdraw(self, name: str) -> None:
        """Also if it is back by now: who has met the gap waits for a new token."""
        if (token := self._tokens.pop(name, None)) is not None:
            await token[1].close()


def _details(registration: AnyRegistration) -> FunctionDetails:
    return FunctionDetails(registration.name, str(registration.signature), registration.summary, registration.scope)
