"""One virtual host: what runs on it, its firewall, and what can go wrong between it and the other hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from labc.testing.namespaces import command, enter, in_namespace
from labc.testing.program import Program, python_program

INTERFACE = "eth0"
"""A virtual host's one network interface, besides ``lo``."""

BRIDGE = "br0"
"""The switch that joins them, an interface of the switch's own namespace."""

_FORWARDER = Path(__file__).with_name("forwarder.py")
_MULTICAST = ("ip daddr 224.0.0.0/4", "ip6 daddr ff00::/8 meta l4proto != icmpv6")


class VirtualHost:
    """One host of :class:`~labc.testing.VirtualHosts`: a network namespace with one cable to the switch.

    All hosts share the machine's file system, and so Unix sockets with a path.

    Attributes:
        name: its host name, such as ``h1``.
        address: its IPv4 address, the first one.
        addresses: all of them, one for each cable.
        namespace: its network namespace, for ``ip netns exec``.
    """

    def __init__(self, name: str, *addresses: str, namespace: str, switch: str) -> None:
        self.name = name
        self.addresses = addresses
        self.address = addresses[0]
        self.namespace = namespace
        self._switch = switch  # the namespace at the other end of the cable
        self._cable = name  # the interface there
        self._processes: list[subprocess.Popen[Any]] = []
        self._programs: list[Program] = []
        self._delay: Program | None = None

    def __repr__(self) -> str:
        return f"<VirtualHost {self.name} {self.address}>"

    def popen(self, args: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process on this host; ``options`` are those of :class:`subprocess.Popen`.

        ``process.pid`` is the program itself, so signals reach it. It is killed when the lab ends.
        """
        process = subprocess.Popen(self._here(args), **options)
        self._processes.append(process)
        return process

    def run(
        self, args: Sequence[str], *, timeout: float = 30.0, check: bool = False, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on this host to its end; the result has its exit code, and its output as text.

        Raises:
            subprocess.TimeoutExpired: it was not done after ``timeout`` seconds, and was killed.
            subprocess.CalledProcessError: ``check`` is set, and it failed.
        """
        return subprocess.run(self._here(args), timeout=timeout, check=check, text=True, capture_output=True, **options)

    def program(
        self,
        source: str,
        /,
        *args: str,
        name: str = "program",
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> Program:
        """Run Python source on this host; see :func:`~labc.testing.python_program`. It is closed with the lab."""
        program = python_program(source, *args, name=name, env=env, cwd=cwd, popen=self.popen)
        self._programs.append(program)
        return program

    def block_tcp(self, *ports: int, all_but: Iterable[int] = (), answer: Literal["drop", "reject"] = "drop") -> None:
        """Let nobody on other hosts open TCP connections to this one; those that are open go on.

        Args:
            ports: the ports to block; none means all.
            all_but: the ports to leave open when all others are blocked.
            answer: ``drop`` leaves the caller waiting, ``reject`` tells it at once.
        """
        if ports and all_but:
            raise ValueError("give the ports to block or those to leave open, not both")
        verdict = "drop" if answer == "drop" else "reject with tcp reset"
        which = f"tcp dport {_set(ports)}" if ports else f"tcp dport != {_set(all_but)}" if all_but else ""
        self.add_rule("input", f"iifname != lo tcp flags & (syn | ack) == syn {which} {verdict}")

    def add_rule(self, chain: Literal["input", "output"], rule: str) -> None:
        """Add an nftables rule to this host's own firewall: ``add_rule("output", "udp dport 53 drop")``."""
        hook = f"{{ type filter hook {chain} priority 0; }}"
        _nft(
            self.namespace,
            "add table inet labc",
            f"add chain inet labc {chain} {hook}",
            f"add rule inet labc {chain} {rule}",
        )

    def drop_multicast(self) -> None:
        """Let the switch lose all multicast from and to this host, as many wireless networks do.

        Programs on this host still hear each other's; IPv6's own neighbour discovery goes through.
        """
        self._add_switch_rules(*(f"{multicast} drop" for multicast in _MULTICAST))

    def lose(self, percent: float) -> None:
        """Let the switch lose this share of the packets from this host, and of those to it, at random.

        From here on the host's new connections send single packets, not bundles that would be lost as one.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"percent={percent!r}: expected 0 to 100")
        command("ip", "-n", self.namespace, "link", "set", INTERFACE, "gso_max_segs", "1")
        self._add_switch_rules(f"numgen random mod 100000 < {round(percent * 1000)} drop")

    def clear_firewall(self) -> None:
        """Undo :meth:`block_tcp`, :meth:`add_rule`, :meth:`drop_multicast` and :meth:`lose`."""
        _nft(self.namespace, "add table inet labc", "delete table inet labc")
        self._add_switch_rules()
        _nft(self._switch, f"flush chain bridge labc {self.name}")
        command("ip", "-n", self.namespace, "link", "set", INTERFACE, "gso_max_segs", "65535")

    def limit_rate(self, bits_per_second: float | None) -> None:
        """Limit what this host can send, and what it can receive, to this rate each; ``None``: no limit.

        The queue in front of the bottleneck holds 50 ms, and what finds it full is lost.
        """
        for namespace, interface in ((self.namespace, INTERFACE), (self._switch, self._cable)):
            queue = ("tc", "-n", namespace, "qdisc", "replace", "dev", interface, "root")
            if bits_per_second is None:
                command(*queue, "noqueue")
                continue
            burst_bytes = max(round(bits_per_second / 8 * 0.002), 5000)  # 2 ms, and never less than a few packets
            limit = ("rate", f"{round(bits_per_second)}bit", "burst", str(burst_bytes), "latency", "50ms")
            command(*queue, "tbf", *limit)

    def delay(self, seconds: float) -> None:
        """Hold back all that this host sends, and all that is sent to it, for this long each; 0: no more.

        The round trip to any other host grows by twice as much. A program passes the packets on, as the usual
        means (netem) is not in every kernel: expect some 0.1 ms more, and no more than some 100 Mbit/s.
        The link goes down and up again for a moment while it is put in or taken out.
        """
        if self._delay is not None:
            self._delay.close()  # its two interfaces go with it
            self._delay = None
            _ip(self._switch, f"link delete {self.name}-wall")
            self._rename_cable(self.name)
            _ip(self._switch, f"link set {self._cable} master {BRIDGE}")
        if seconds > 0:
            self._rename_cable(f"{self.name}-cable")
            inner, outer, wall = f"{self.name}-inner", self.name, f"{self.name}-wall"
            arguments = [sys.executable, "-I", str(_FORWARDER), inner, outer, str(seconds)]
            self._delay = Program([*enter(self._switch), *arguments])
            self._delay.expect("ready")
            _ip(
                self._switch,
                f"link add {wall} type bridge mcast_snooping 0",
                f"link set {wall} up",
                f"link set {self._cable} master {wall}",
                f"link set {inner} master {wall} up",
                f"link set {outer} master {BRIDGE} up",
            )

    def cut(self, *, link_down: bool = False) -> None:
        """Cut the cable until :meth:`mend`.

        Args:
            link_down: with ``False``, packets vanish without a sign, as behind a switch that lost its power.
                With ``True``, the host sees its own link go down, as when its plug is pulled.
        """
        _ip(self._switch, f"link set {self._cable} down" if link_down else f"link set {self.name} nomaster")

    def mend(self) -> None:
        """Make the cable whole again. Addresses and routes were kept."""
        _ip(self._switch, f"link set {self.name} master {BRIDGE}", f"link set {self._cable} up")

    def end_processes(self) -> None:
        """Kill what was started here with :meth:`popen` and :meth:`program`, and close its pipes."""
        for program in self._programs:
            program.close()
        if self._delay is not None:
            self._delay.close()
        for process in self._processes:
            process.kill()
            with process:  # closes its pipes and waits for it
                pass

    def _here(self, args: Sequence[str]) -> list[str]:
        """What runs ``args`` in this host's network and under its name; each part makes way for the next."""
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        return [*enter(self.namespace), *named, *args]

    def _add_switch_rules(self, *rules: str) -> None:
        """Add rules for what passes through the switch from or to this host; its chain exists afterwards."""
        directions = (f"iifname {self.name}", f"oifname {self.name}")
        _nft(
            self._switch,
            "add table bridge labc",
            f"add chain bridge labc {self.name} {{ type filter hook forward priority 0; }}",
            *(f"add rule bridge labc {self.name} {direction} {rule}" for rule in rules for direction in directions),
        )

    def _rename_cable(self, name: str) -> None:
        _ip(self._switch, f"link set {self._cable} down", f"link set {self._cable} name {name}", f"link set {name} up")
        self._cable = name


def _set(ports: Iterable[int]) -> str:
    return f"{{ {', '.join(str(port) for port in ports)} }}"


def _nft(namespace: str, *lines: str) -> None:
    in_namespace(namespace, "nft", "-f", "-", stdin="\n".join(lines))


def _ip(namespace: str, *lines: str) -> None:
    command("ip", "-n", namespace, "-batch", "-", stdin="\n".join(lines))
