"""What can be set, with units, defaults and trade-offs, and how it is put together from where it is set."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from labc.errors import SettingsError
from labc.settings import files, kinds, rights
from labc.settings.interfaces import interface_entry
from labc.settings.kinds import EntryError, Kind
from labc.settings.places import address_range, host_place, port_range, router_place
from labc.settings.shares import Share, named_folders

MAX_NAME_BYTES = 255
"""The longest name of a network, node, function or topic level, as UTF-8."""

DISCOVERY_METHODS = ("multicast", "remembered", "hosts", "scan")
MAX_SCANNED = 4096
"""Addresses; to search more needs `scan_large`."""

_PREFIX = "LABC_"
_HERE = Path()
_TOLD_BY_ENTRY = ("access", "shares")
"""Tables of which it matters later where an entry stands."""
_MAX_SHOWN = 80


def _setting(default: Any, kind: Kind, doc: str) -> Any:
    metadata = {"kind": kind, "doc": doc}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one node. Times are seconds, sizes are bytes.

    Sources, the later ones win (of a table, for each of its keys): the defaults below, the user's file, ``labc.toml``
    in the current folder, ``LABC_*`` variables of the environment (``LABC_FIND_TIMEOUT=5``), the arguments of
    ``labc.init(...)`` or ``labc.Node(...)``.
    """

    network: str = _setting(
        "labc",
        kinds.name(MAX_NAME_BYTES, empty=False),
        "Nodes with the same network name find each other; others never see them. Not a password.",
    )
    encrypted: bool = _setting(
        False,
        kinds.boolean(),
        "Whether to join the network only if it has a key. Else a user who is no member, also by accident, is in an "
        "open network of the same name.",
    )
    name: str = _setting(
        "",
        kinds.name(MAX_NAME_BYTES, empty=True),
        "The node's readable name. Empty: the name of the program's file. Several nodes may share one.",
    )
    aliases: Mapping[str, str] = _setting(
        {},
        kinds.table(),
        "Other names for computers: of each alias the host name or the address. In the environment also one by one: "
        "`LABC_ALIASES__BENCH=computer1`.",
    )
    group: str = _setting(
        "",
        kinds.name(MAX_NAME_BYTES, empty=True),
        "Nodes of one computer with the same group see each other's things of scope `group`. Empty: none.",
    )
    root_port: int = _setting(
        0,
        kinds.port(),
        "The TCP port of a computer's root. 0: 55555 for the network `labc`, and for any other network one that "
        "follows from its name. The three ports after it are spares. All nodes of a network need the same.",
    )
    lane_ports: str = _setting(
        "",
        kinds.text_of(port_range, 'a text like "50000-50100", or an empty one for any port'),
        "The TCP ports at which programs take calls, one for each program that runs: for firewalls. Empty: any free "
        "one. Where all are taken, a program is called from other computers through the roots, which is slower.",
    )
    interfaces: tuple[str, ...] = _setting(
        (),
        kinds.list_of(
            kinds.text_of(interface_entry, 'a text like "eth0", "10.0.0.0/24", "10.0.0.5" or "!docker0"'),
            256,
        ),
        "Which of the computer's interfaces, subnets and addresses are used, or with a `!` before it avoided, to find "
        "others and for calls. With one that is not avoided only those are used; empty: all. Loopback always is. The "
        "root's port stays open on all, see the page on discovery.",
    )
    discovery: tuple[str, ...] = _setting(
        ("multicast", "remembered"),
        kinds.list_of(kinds.choice(*DISCOVERY_METHODS), 10),
        'How the computers of a network find each other: `"multicast"`, `"remembered"` (those met in the last 30 '
        'days), `"hosts"`, `"scan"`; all go on for ever. See the page on discovery.',
    )
    hosts: tuple[str, ...] = _setting(
        (),
        kinds.list_of(kinds.text_of(host_place, 'a text like "10.0.0.5", "lab3" or "lab3:55555" (IPv4)'), 256),
        "Computers that are asked by their names or addresses, whatever `discovery` says; enough on one side. Each "
        "that does not answer costs four small datagrams in 5 s.",
    )
    routers: tuple[str, ...] = _setting(
        (),
        kinds.list_of(kinds.text_of(router_place, 'a text like "server.example" or "tcp/10.0.0.5:55554" (IPv4)'), 16),
        "Routers over which other sites are reached, see `labc router`; the port is 55554 where none is given. A "
        "program uses one of them, and another one when that is gone: routers of one network have to name each other.",
    )
    scan_ranges: tuple[str, ...] = _setting(
        (),
        kinds.list_of(kinds.text_of(address_range, 'a text like "10.0.0.0/24" or "10.0.0.5-10.0.0.40"'), 256),
        "Where `scan` searches, by IPv4. Empty: in all local subnets.",
    )
    scan_rate: float = _setting(
        300.0,
        kinds.number(1, 100_000),
        "Datagrams that `scan` sends in a second. It needs two for each address, every 5 s if there is time. Much "
        "faster, the system may find no other neighbours meanwhile.",
    )
    scan_large: bool = _setting(
        False,
        kinds.boolean(),
        "Whether `scan` may search more than 4096 addresses.",
    )
    access: Mapping[str, str] = _setting(
        {},
        rights.access(),
        "Who may call, publish or hear which names: of each name or pattern the computers. What no line is about, "
        "everybody may. In the environment: `LABC_ACCESS=lights.*=localhost,bench1`. See the page on security.",
    )
    shares: Mapping[str, Share] = _setting(
        {},
        named_folders(files.full_path),
        "Folders that others may reach by a name. Of each its `path`, whether they may `read` (true) and `write` "
        "(false) there, and whether other computers may on a network without a key: `open` (false). In the "
        "environment: `LABC_SHARES__LOGS=/var/log/rig,write`.",
    )
    timeout: float = _setting(
        3600.0,
        kinds.seconds(),
        "How long a call waits for its answer. The loss of a provider is noticed without it: it is for functions "
        "that never return.",
    )
    find_timeout: float = _setting(
        2.0,
        kinds.seconds(),
        "How long a call waits for somebody to offer the name. Longer forgives slow starts, shorter reports a "
        "misspelt name sooner.",
    )
    connect_timeout: float = _setting(
        2.0,
        kinds.seconds(),
        "How long all the addresses of a node together are tried before a call to it fails.",
    )
    relay_after: float = _setting(
        0.5,
        kinds.seconds(),
        "After this long without a direct connection, the way through the roots is tried as well.",
    )
    heartbeat_interval: float = _setting(
        0.5,
        kinds.seconds(0.01),
        "A connection that was silent for so long is asked for a sign of life.",
    )
    heartbeat_timeout: float = _setting(
        2.5,
        kinds.seconds(),
        "A node that was silent for so long, and is no longer present in the network, is lost. Shorter notices a "
        "hung program sooner, and mistakes a busy network for one. At least `fabric_lease` + 0.25.",
    )
    fabric_lease: float = _setting(
        2.0,
        kinds.seconds(0.1),
        "A computer that was silent for so long (cut cable, power off) is gone from the network.",
    )
    presence_grace: float = _setting(
        1.0,
        kinds.seconds(),
        "A node that vanished, and said no goodbye to this one on a lane, is kept so long, last in line: a change "
        "of root makes all of them vanish for a moment.",
    )
    max_message_bytes: int = _setting(
        1 << 30,
        kinds.size(),
        "The largest value, with all its arrays, of one call (1 GiB).",
    )
    max_lanes: int = _setting(
        1024,
        kinds.whole_number(1),
        "Connections that others may have open to this node; further ones are refused.",
    )
    max_calls: int = _setting(
        1000,
        kinds.whole_number(1),
        "Calls that run here at once, beside labc's own; further ones are refused with `OverloadedError`.",
    )
    max_pending_bytes: int = _setting(
        64 << 20,
        kinds.size(),
        "What may wait to be sent on one connection before a new call has to wait (64 MiB).",
    )
    stream_items: int = _setting(
        1000,
        kinds.whole_number(1),
        "How many values of a stream its sender may be ahead of its reader, or items of a map. Fewer keep a slow "
        "reader up to date, more let small values flow faster.",
    )
    stream_bytes: int = _setting(
        8 << 20,
        kinds.size(),
        "The same in bytes (8 MiB); one value more may always be under way.",
    )
    share_connections: int = _setting(
        5,
        kinds.whole_number(1),
        "Connections for files of its shares that a node serves to one program at a time; more wait for their turn.",
    )
    max_share_connections: int = _setting(
        32,
        kinds.whole_number(1),
        "The same to all programs together.",
    )
    queue_size: int = _setting(
        1000,
        kinds.whole_number(1),
        "Messages that may wait for one subscription's handler.",
    )
    when_full: Literal["drop-oldest", "hold"] = _setting(
        "drop-oldest",
        kinds.choice("drop-oldest", "hold"),
        'What happens then: `"drop-oldest"`, counted, or `"hold"` the publisher back.',
    )
    max_retained: int = _setting(
        10_000,
        kinds.whole_number(1),
        "Retained values that this node keeps, for itself and as the root of its computer; beyond it the oldest goes.",
    )
    max_retained_bytes: int = _setting(
        64 << 20,
        kinds.size(),
        "Their size in all (64 MiB).",
    )
    threads: int = _setting(
        1000,
        kinds.whole_number(1),
        "Threads for `def` functions, at most, and as many for handlers. They are made when needed, and end when "
        "idle. One for each of `max_calls`: with fewer, functions that call each other can wait for each other "
        "until they time out.",
    )
    processes: int = _setting(
        0,
        kinds.whole_number(0),
        'Processes for functions with `run="process"`. 0: one for each processor.',
    )
    stay_awake: float = _setting(
        0.0002,
        kinds.seconds(),
        "A blocking caller that was answered within this time, and a program that is called again within it, look "
        "for the next answer or call for so long before they sleep: short calls take less time, and a processor is "
        "used meanwhile. 0: never.",
    )

    @staticmethod
    def load(environment: Mapping[str, str] | None = None, **arguments: Any) -> Settings:
        """The settings from the files, the environment and these arguments; ``None`` means "not given".

        Raises:
            SettingsError: a file that can't be read, an unknown key or a bad value; with the place, what was expected
                and a near key.
        """
        return Settings.load_with_sources(environment, **arguments).settings

    @staticmethod
    def load_with_sources(
        environment: Mapping[str, str] | None = None, texts: Mapping[Path, str] | None = None, **arguments: Any
    ) -> Loaded:
        """The same, and where each value is from. ``texts``: as if this stood in the files."""
        environment = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for found in (_from_files(environment, texts or {}), _from_environment(environment), _given(arguments)):
            for key, value, source, places in found:
                values[key] = {**values.get(key, {}), **value} if _is_table(key) else value
                sources[key] = source
                if key in _TOLD_BY_ENTRY:
                    sources.update({f"{key}.{entry}": places.get(entry, source) for entry in value})
        settings = Settings(**values)
        if settings.heartbeat_timeout < settings.fabric_lease + 0.25:
            set_by = [f"{key} by {sources[key]}" for key in ("heartbeat_timeout", "fabric_lease") if key in sources]
            raise SettingsError(
                f"heartbeat_timeout={settings.heartbeat_timeout:g}: expected at least fabric_lease + 0.25 = "
                f"{settings.fabric_lease + 0.25:g} s, or a stopped node can't be told from a busy one "
                f"({' and '.join(set_by)})"
            )
        _check_scan(settings, sources)
        return Loaded(settings, sources)

    @staticmethod
    def explained() -> dict[str, str]:
        """Of each setting, in their order: what it is, and what to weigh."""
        return {key: field.metadata["doc"] for key, field in _FIELDS.items()}


class Loaded(NamedTuple):
    settings: Settings
    sources: dict[str, str]
    """Of each setting that is not the default: the file and line, the variable, or "argument". Of each line of
    ``access`` and of each share as well, by ``access.`` or ``shares.`` and its name."""


def _check_scan(settings: Settings, sources: Mapping[str, str]) -> None:
    count = sum(address_range(text).size for text in settings.scan_ranges)
    if count > MAX_SCANNED and not settings.scan_large:
        minutes = 2 * count / settings.scan_rate / 60
        raise SettingsError(
            f"scan_ranges={_shortened(list(settings.scan_ranges))}: {count} addresses, and more than {MAX_SCANNED} "
            f"are searched only with scan_large=true: a search would take {minutes:.1f} minutes at scan_rate="
            f"{settings.scan_rate:g} (scan_ranges by {sources['scan_ranges']})"
        )


_FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


def near_keys(key: str) -> list[str]:
    """The setting that this may have been meant to be."""
    import difflib  # for what has gone wrong only

    return difflib.get_close_matches(key.lower(), _FIELDS, n=1, cutoff=0.7)


def checked(key: str, value: Any, folder: Path = _HERE) -> Any:
    """The value as it is used; a relative path in it counts from ``folder``. Raises ValueError with what was
    expected."""
    kind = _kind(key)
    return _fitting(key, value, lambda value: kind.locate(kind.check(value), folder))


def parsed(key: str, text: str) -> Any:
    """The value from the text of a variable or a command line; a relative path in it counts from the current folder.
    Raises ValueError with what was expected."""
    kind = _kind(key)
    return _fitting(key, text, lambda text: kind.locate(kind.check(kind.parse(text)), _HERE))


def _fitting(key: str, value: Any, check: Callable[[Any], Any]) -> Any:
    try:
        return check(value)
    except EntryError:
        raise
    except (ValueError, OverflowError):
        raise ValueError(f"expected {_kind(key).expected}") from None


def _is_table(key: str) -> bool:
    return key in _FIELDS and _FIELDS[key].default_factory is not dataclasses.MISSING


def _kind(key: str) -> Kind:
    kind: Kind = _FIELDS[key].metadata["kind"]
    return kind


_Found = tuple[str, Any, str, Mapping[str, str]]
"""Key, value, source; and the places of the entries of a table, where they differ from it."""


def _from_files(environment: Mapping[str, str], texts: Mapping[Path, str]) -> Iterator[_Found]:
    for path in (files.user_file(environment), files.project_file()):
        if path is None:
            continue
        text = texts[path] if path in texts else files.read_text(path)
        for entry in files.entries(path, text):
            place = f"{path}, line {entry.line}" if entry.line else str(path)
            if entry.key not in _FIELDS:
                raise _unknown(f"{place}: {entry.key}", near_keys(entry.key))
            try:
                value = checked(entry.key, entry.value, path.parent)
                names = value if _is_table(entry.key) else ()
                yield entry.key, value, place, {name: _place_of(path, text, entry.key, name) for name in names}
            except EntryError as error:
                place = _place_of(path, text, entry.key, *error.names)
                raise SettingsError(f"{place}: {entry.key}: {error}") from None
            except ValueError as error:
                shown = "is a table here" if isinstance(entry.value, dict) else f"= {_shortened(entry.value)}"
                raise SettingsError(f"{place}: {entry.key} {shown}: {error}") from None


def _place_of(path: Path, text: str, key: str, *names: str) -> str:
    line = files.line_of_entry(text, key, *names)
    return f"{path}, line {line}" if line else str(path)


def _from_environment(environment: Mapping[str, str]) -> Iterator[_Found]:
    for variable in sorted(environment):
        if not variable.startswith(_PREFIX) or not (text := environment[variable]):
            continue
        key, _, entry = variable.removeprefix(_PREFIX).lower().partition("__")
        if entry and _is_table(key):
            text, variable_of_key = f"{entry}={text}", _PREFIX + key.upper() + "__" + entry.upper()
        else:
            key = variable.removeprefix(_PREFIX).lower()
            variable_of_key = _PREFIX + key.upper()
        if variable != variable_of_key or key not in _FIELDS:
            near = [key] if key in _FIELDS else near_keys(key)
            raise _unknown(f"environment variable {variable}", [_PREFIX + each.upper() for each in near])
        try:
            yield key, parsed(key, text), variable, {}
        except ValueError as error:
            raise SettingsError(f"environment variable {variable}={_shortened(text)}: {error}") from None


def _given(arguments: Mapping[str, Any]) -> Iterator[_Found]:
    for key, value in arguments.items():
        if key not in _FIELDS:
            raise _unknown(f"argument {key!r}", [repr(near) for near in near_keys(key)])
        if value is None:
            continue
        try:
            yield key, checked(key, value), "argument", {}
        except ValueError as error:
            raise SettingsError(f"argument {key}={_shortened(value)}: {error}") from None


def _unknown(what: str, near: Iterable[str]) -> SettingsError:
    hint = "".join(f"; did you mean {each}?" for each in near)
    return SettingsError(f"{what}: no such setting{hint}")


def _shortened(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        return "a huge number"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
