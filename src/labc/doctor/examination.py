"""Finds out what is to be known of the network from here: what it says itself, and what can be tried."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import labc
from labc.discovery.datagrams import network_digest
from labc.discovery.description import PROTOCOL
from labc.discovery.inquiry import Found, Question, inquire
from labc.discovery.interfaces import addresses_now
from labc.discovery.names import look_up
from labc.discovery.remembered import Memory, remembered_file
from labc.doctor.report import Computer, Here, Report, Target
from labc.errors import FabricError, LabcError
from labc.fabric.ports import every_first_port, every_multicast_port, root_ports, scouting_address
from labc.lanes.addresses import endpoints, reachable
from labc.lanes.knocking import State, best, knock
from labc.security import credentials_of
from labc.settings import Interfaces, Settings, host_place

_KNOCK_WITHIN = 5.0
"""Seconds. The system needs three to find out that nobody has an address of the local network."""
_ANSWER_WITHIN = 5.0
_MAX_PLACES = 256
_MAX_HOSTS = 32
"""Linked computers whose connections are tried."""


def examine(settings: Settings, target: str | None = None) -> Report:
    """Look around, for some seconds, as one more program of the network that ``labc.init(...)`` was told.

    Args:
        target: a computer to find, by name, alias or address.

    Raises:
        MembershipError: this user's key for the network can't be used.
        LabcError, OSError: what has nothing to do with the network.
    """
    return _Examination(settings, target).run()


class _Examination:
    def __init__(self, settings: Settings, target: str | None) -> None:
        credentials = credentials_of(settings.network)
        realm = credentials.realm if credentials else settings.network
        self._settings = settings
        self._realm = realm
        self._digest = network_digest(realm)
        self._ports = root_ports(realm, settings.root_port)
        self._multicast_port = int(scouting_address(realm).rpartition(":")[2])
        interfaces = Interfaces(settings.interfaces)
        used = (each for each in addresses_now() if interfaces.use(each.interface, each.address))
        self._own = sorted(used, key=lambda each: (each.interface, each.address))
        here = Here(
            host=platform.node(),
            network=settings.network,
            keyed=credentials is not None,
            version=labc.__version__,
            addresses=[f"{each.address}/{each.prefix} {each.interface}" for each in self._own],
            ports=list(self._ports),
            multicast_port=self._multicast_port,
            discovery=list(settings.discovery),
        )
        self.report = Report(here=here, protocol=PROTOCOL)
        self._nodes: list[labc.NodeInfo] = []
        self._heard_by_root: dict[str, list[str]] = {}
        """By address: the methods of discovery by which the root of this computer has heard it."""
        if target is not None:
            target = settings.aliases.get(target, target)
            self.report.target = Target(name=target, addresses=_looked_up(target))

    def run(self) -> Report:
        report = self.report
        try:
            self._see_nodes()
        except FabricError as error:
            report.here.error = str(error)
            return report
        found = self._ask_around()
        self._see_nodes()  # a root of this computer that has just opened has met the others meanwhile
        hosts = self._linked_hosts()
        if report.target is not None and (named := self._named(hosts)):
            report.target.addresses = list(dict.fromkeys([*report.target.addresses, *named]))
        if self._nobody_in_sight(found, hosts):
            found += self._ask_other_networks()
        self._enter_linked(hosts, found)
        self._enter_others(hosts, found)
        self._try_connections(hosts)
        return report

    # What the network says.

    def _see_nodes(self) -> None:
        self._nodes = labc.at(timeout=_ANSWER_WITHIN).nodes()
        here = self.report.here
        own_host = next(node.host_id for node in self._nodes if node.here)
        for node in self._nodes:
            if node.host_id == own_host and node.root:
                here.root = "this command" if node.here else node.name
                with suppress(LabcError):
                    here.root_port = labc.at(node=node.id, timeout=_ANSWER_WITHIN).core.info()["root_port"]
                    for root in labc.at(node=node.id, timeout=_ANSWER_WITHIN).core.heard():
                        self._heard_by_root[root["address"]] = sorted(root["methods"])

    def _linked_hosts(self) -> dict[str, list[labc.NodeInfo]]:
        """The programs of each other computer of this site, by its id; those that say where they are first."""
        own = next(node.host_id for node in self._nodes if node.here)
        hosts: dict[str, list[labc.NodeInfo]] = {}
        for node in sorted(self._nodes, key=lambda node: (not node.root, not node.addresses)):
            if node.host_id != own and not node.away:
                hosts.setdefault(node.host_id, []).append(node)
        return hosts

    def _named(self, hosts: Mapping[str, Sequence[labc.NodeInfo]]) -> list[str]:
        """The addresses of the linked computers with the target's name."""
        assert self.report.target is not None
        name = self.report.target.name.lower()
        return [a for nodes in hosts.values() if nodes[0].host.lower() == name for a in _addresses(nodes)]

    # What can be asked.

    def _ask_around(self) -> list[Found]:
        here = self.report.here
        places = [(address, port) for address in self._known_addresses() for port in self._ports]
        questions = [Question(each.address, self._multicast_port, by_multicast=True) for each in self._own]
        questions += [Question(*place) for place in places[:_MAX_PLACES]]
        if here.root_port:
            questions.append(Question("127.0.0.1", here.root_port))
        around = inquire(self._own, self._multicast_port, questions, self._is_to_be_heard)
        here.can_send_multicast = around.can_send
        here.can_hear_multicast = around.can_listen
        here.root_answers = not here.root_port or any(
            each.address == "127.0.0.1" and each.port == here.root_port for each in around.found
        )
        return [each for each in around.found if not self._is_own(each.address)]

    def _known_addresses(self) -> list[str]:
        known = list(self.report.target.addresses) if self.report.target else []
        for nodes in self._linked_hosts().values():
            known += _addresses(nodes)
        for text in self._settings.hosts:
            known += _looked_up(host_place(text).host)
        if "remembered" in self._settings.discovery and (path := remembered_file()):
            memory = Memory(path, self._realm)
            memory.load()
            known += [address for address, _ in memory.places]
        return [each for each in dict.fromkeys(known) if not self._is_own(each)]

    def _ask_other_networks(self) -> list[Found]:
        """The other networks of the target, or of whoever is there."""
        questions = [Question(own.address, port, True) for port in every_multicast_port() for own in self._own]
        if self.report.target is not None:
            addresses = self.report.target.addresses[:2]
            questions += [Question(address, port) for port in every_first_port() for address in addresses]
        around = inquire(self._own, self._multicast_port, questions, times=1)
        return [each for each in around.found if not self._is_own(each.address) and each.digest != self._digest]

    def _nobody_in_sight(self, found: Iterable[Found], hosts: Mapping[str, Sequence[labc.NodeInfo]]) -> bool:
        """Whether there is neither the target, nor, without one, anybody of this network."""
        if self.report.target is None:
            return not hosts and not any(each.digest == self._digest for each in found)
        wanted = set(self.report.target.addresses)
        linked = {address for nodes in hosts.values() for address in _addresses(nodes)}
        return not wanted & (linked | {each.address for each in found if each.digest == self._digest})

    def _is_own(self, address: str) -> bool:
        return address.startswith("127.") or any(address == own.address for own in self._own)

    def _is_to_be_heard(self, found: Found) -> bool:
        if found.digest != self._digest or self._is_own(found.address):
            return False
        return found.description is None or found.description.keyed or "multicast" in found.description.methods

    # What it comes to.

    def _enter_linked(self, hosts: Mapping[str, Sequence[labc.NodeInfo]], found: Sequence[Found]) -> None:
        for nodes in hosts.values():
            addresses = _addresses(nodes)
            roots = [each for each in found if each.address in addresses and each.digest == self._digest]
            computer = Computer(
                host=nodes[0].host,
                address=roots[0].address if roots else next(iter(addresses), ""),
                linked=True,
                network=self._settings.network,
                keyed=self.report.here.keyed,
                version=nodes[0].version,
            )
            self._enter(computer, roots)

    def _enter_others(self, hosts: Mapping[str, Sequence[labc.NodeInfo]], found: Sequence[Found]) -> None:
        linked = {address for nodes in hosts.values() for address in _addresses(nodes)}
        roots: dict[str, list[Found]] = {}
        for each in found:
            if each.address not in linked:
                roots.setdefault(each.root_id, []).append(each)
        for places in roots.values():
            first, told = places[0], next((each.description for each in places if each.description), None)
            computer = Computer(
                host=(told.host if told else "") or first.address,
                address=first.address,
                same_network=first.digest == self._digest,
                network=told.network if told else "",
                keyed=told.keyed if told else False,
                version=told.version if told else "",
            )
            self._enter(computer, places)

    def _enter(self, computer: Computer, roots: Sequence[Found]) -> None:
        """With what these answers tell of it."""
        for root in roots:
            computer.answers = True
            computer.root_port = root.port
            computer.answers_multicast |= root.by_multicast
            computer.heard_by_multicast |= root.is_heard_by_multicast
            if root.description is not None:
                computer.protocol = root.description.protocol
                computer.clock = root.clock
        computer.found_by = self._heard_by_root.get(computer.address, [])
        self.report.computers.append(computer)

    # What can be tried.

    def _try_connections(self, hosts: Mapping[str, Sequence[labc.NodeInfo]]) -> None:
        report, here = self.report, self.report.here
        tried = dict(list(hosts.items())[:_MAX_HOSTS])
        lanes = {host_id: _endpoints(nodes[0]) for host_id, nodes in tried.items()}
        wanted = [("127.0.0.1", self._ports[0])] if here.root_port not in (None, self._ports[0]) else []
        wanted += [place for places in lanes.values() for place in places]
        wanted += [(each.address, each.root_port) for each in report.computers if each.address and each.root_port]
        if report.target is not None:
            wanted += [(address, port) for address in report.target.addresses[:4] for port in self._ports]
        with ThreadPoolExecutor(9) as pool:
            there = pool.submit(lambda: asyncio.run(knock(wanted, _KNOCK_WITHIN)))
            back = dict(zip(tried, pool.map(_knocked_back, (nodes[0] for nodes in tried.values())), strict=True))
            met = there.result()
        here.first_port_is_taken = met.get(("127.0.0.1", self._ports[0])) == "open"
        for computer in report.computers:
            if computer.root_port:
                computer.root = met.get((computer.address, computer.root_port))
        for computer, host_id in zip(report.computers, tried, strict=False):  # the linked ones come first
            computer.lanes_there = best([met[place] for place in lanes[host_id]])
            computer.lanes_back = back[host_id]
        if report.target is not None:
            for port in self._ports:
                states = [met[address, port] for address in report.target.addresses[:4]]
                if (state := best(states)) is not None:
                    report.target.ports[port] = state


def _looked_up(host: str) -> list[str]:
    try:
        return look_up(host)
    except (OSError, UnicodeError):
        return []


def _endpoints(node: labc.NodeInfo) -> list[tuple[str, int]]:
    """Where the programs of other computers connect to it."""
    return endpoints(reachable(node.addresses, same_host=False))


def _addresses(nodes: Iterable[labc.NodeInfo]) -> list[str]:
    """The IPv4 addresses of the computer on which these programs are."""
    return list(dict.fromkeys(address for node in nodes for address, _ in _endpoints(node) if ":" not in address))


def _knocked_back(node: labc.NodeInfo) -> State | None:
    """What that program met when it connected to this one; None: it can't be asked."""
    try:
        state: State = labc.at(node=node.id, timeout=_ANSWER_WITHIN).core.knock()
    except LabcError:
        return None
    return state
