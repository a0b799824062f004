"""What this node offers, and how the others know of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from labc.directory import NodeRecord, is_narrow
from labc.fabric import Declared, Fabric, Medium, Wide
from labc.functions import Registration
from labc.node.details import Catalogue, FunctionDetails
from labc.node.identity import secret_digest

AnyRegistration = Registration[..., Any]

_Said = tuple[tuple[Medium, str], ...]
"""Where a token says something, and its key."""


class Offering:
    """The functions of the node ``here``; ``later`` runs jobs one after the other, on the loop."""

    def __init__(
        self,
        here: NodeRecord,
        fabric: Fabric,
        wide: Wide | None,
        later: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._here = here
        self._fabric = fabric
        self._wide = wide
        self._later = later
        self._by_name: dict[str, AnyRegistration] = {}
        self._tokens: dict[str, tuple[_Said, list[Declared]]] = {}
        """By name: what this node says of it, and the tokens that say it."""

    def find(self, name: str) -> AnyRegistration | None:
        return self._by_name.get(name)

    def all(self) -> list[AnyRegistration]:
        """From any thread."""
        return list(self._by_name.values())

    def catalogue(self, away: bool = False) -> Catalogue:
        """What everybody may know; ``away``: those of other sites."""
        listed = [registration for registration in self.all() if registration.listed]
        found = [_details(registration) for registration in listed if _reaches(registration, away)]
        return Catalogue(self._here.id, found, not away and len(found) < len(listed))

    def count(self, away: bool = False) -> int:
        """How many functions everybody may know of; ``away``: those of other sites."""
        return sum(registration.listed and _reaches(registration, away) for registration in self.all())

    @property
    def is_wide(self) -> bool:
        """Whether there is anything for other sites, listed or not."""
        return any(registration.scope == "wan" for registration in self.all())

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

    def _said(self, registration: AnyRegistration) -> _Said:
        """Where it is said that it is offered, and by which key."""
        name, keys = registration.name, self._fabric.keys
        match registration.scope:
            case "wan" if self._wide:
                return (
                    (self._fabric, keys.function(name, self._here)),
                    (self._wide, self._wide.keys.function(name, self._here)),
                )
            case "network" | "wan":
                return ((self._fabric, keys.function(name, self._here)),)
            case "host":
                return ((self._fabric, keys.narrow(secret_digest("host", name), self._here)),)
            case "group" if self._here.group:
                return ((self._fabric, keys.narrow(self._group_digest(name), self._here)),)
        return ()

    async def _declare(self, name: str) -> None:
        registration = self._by_name.get(name)
        said = self._said(registration) if registration is not None and registration.listed else ()
        old = self._tokens.get(name)
        if old is not None and old[0] == said:
            return
        await self._withdraw(name)  # first, or others take its end for that of the new one
        if said:
            self._tokens[name] = (said, [await medium.declare_token(key) for medium, key in said])

    async def _withdraw(self, name: str) -> None:
        """Also if it is back by now: who has met the gap waits for a new token."""
        if (token := self._tokens.pop(name, None)) is not None:
            for declared in token[1]:
                await declared.close()


def _reaches(registration: AnyRegistration, away: bool) -> bool:
    return registration.scope == "wan" if away else not is_narrow(registration.scope)


def _details(registration: AnyRegistration) -> FunctionDetails:
    return FunctionDetails(registration.name, str(registration.signature), registration.summary, registration.scope)
