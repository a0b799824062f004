"""Part ``files``: whole commands that fetch a large file, some, or many small ones; and rsync, scp, cp, pynetwork."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environment import PYTHON, search_path
from benchmarks.report import Table, figure
from benchmarks.run import FAILURES, Contender, Lab, Run, least, median, ratio

LABC = str(PYTHON.parent / "labc")
SERVER = """
import labc, sys
labc.init(name="nas", shares={"data": {"path": sys.argv[1], "open": True}}, share_connections=8)
print("ready", flush=True)
labc.serve()
"""
CONNECTIONS = (1, 4, 8)
DEFAULT = 4
_MOST_ROUNDS = 3
_AT_MOST = 60.0
"""Seconds, after which one is out."""
_DELAY = 0.010
"""Seconds, each way."""
_START_WITHIN = 30.0

RSYNC, SYNCED, CP, SCP = "rsync", "rsync, then sync", "cp -r", "scp -r"


@dataclass(frozen=True)
class Files:
    """That are fetched together."""

    title: str
    count: int
    size: int

    @property
    def bytes(self) -> int:
        return self.count * self.size


LARGE, SOME, SMALL = (
    Files("1 GiB", 1, 1 << 30),
    Files("200 x 5 MiB", 200, 5 << 20),
    Files("10000 x 4 KiB", 10_000, 4096),
)
QUICK = Files("64 MiB", 1, 64 << 20), Files("20 x 5 MiB", 20, 5 << 20), Files("500 x 4 KiB", 500, 4096)


@dataclass(frozen=True)
class There:
    """Where the files are, and which ports answer for them."""

    root: Path
    address: str
    host: str
    network: str
    ports: Mapping[str, int]


Command = Callable[[There, str, str], list[str]]
"""``command(there, folder, to)``."""


@dataclass(frozen=True)
class Way:
    """One line of the tables."""

    contender: Contender
    command: Command
    server: str = ""
    """Which has to run there."""
    between: bool = True
    """Whether it can reach another host."""
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return self.contender.title


def _labc(connections: int) -> Way:
    def command(there: There, folder: str, to: str) -> list[str]:
        return [LABC, "get", f"{there.host}:data/{folder}/", to, "-c", str(connections)]

    return Way(Contender(_named("labc", connections), "labc"), command, "labc")


def _pynetwork(connections: int) -> Way:
    def command(there: There, folder: str, to: str) -> list[str]:
        where = [there.address, str(there.ports["pynetwork"]), str(there.root / folder), to]
        return [str(PYTHON), "-m", "benchmarks.peers.pynetwork", "fetch", *where, str(connections)]

    return Way(Contender(_named("pynetwork", connections), "pynetwork"), command, "pynetwork")


def _named(program: str, connections: int) -> str:
    return f"{program}, {connections} connection{'s' * (connections > 1)}"


def _rsync(there: There, folder: str, to: str) -> list[str]:
    return ["rsync", "-a", f"rsync://{there.address}:{there.ports['rsync']}/data/{folder}/", f"{to}/"]


def _rsync_and_sync(there: There, folder: str, to: str) -> list[str]:
    return ["sh", "-c", '"$@" && sync -f "$0"', to, *_rsync(there, folder, to)]


def _scp(there: There, folder: str, to: str) -> list[str]:
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    key = str(there.root / "ssh" / "client")
    where = f"{there.address}:{there.root / folder}"
    return ["scp", "-q", "-r", "-i", key, "-P", str(there.ports["scp"]), *options, where, to]


WAYS = [
    *map(_labc, CONNECTIONS),
    Way(Contender(RSYNC, "rsync"), _rsync, "rsync"),
    Way(Contender(SYNCED, "rsync"), _rsync_and_sync, "rsync"),
    Way(Contender(CP, "cp"), lambda there, folder, to: ["cp", "-r", str(there.root / folder), to], between=False),
    Way(Contender(SCP, "scp"), _scp, "scp"),
    *map(_pynetwork, CONNECTIONS),
]


def measure(run: Run) -> None:
    sets = QUICK if run.quick else (LARGE, SOME, SMALL)
    need = 3 * sum(files.bytes for files in sets)
    with tempfile.TemporaryDirectory(prefix="labc-bench-files-") as made:
        root = Path(made)
        if shutil.disk_usage(root).free < need:
            raise RuntimeError(f"the files need {need >> 30} GiB in {root}")
        for files in sets:
            _make(root, files)
        pynetwork: list[float | None] = []
        for between in (False, True):
            pynetwork += _measure(run, root, sets, between=between)
    run.report.at_least(
        "files", "faster than pynetwork everywhere, with as many connections", least(*pynetwork), 1, " x"
    )


def _measure(run: Run, root: Path, sets: Sequence[Files], *, between: bool) -> list[float | None]:
    """Returns how many times as fast as pynetwork it is, each time."""
    where = f"another host, {2 * _DELAY * 1000:.0f} ms away and back" if between else "same host"
    faster: list[float | None] = []
    large, _, small = sets
    with run.lab(2 if between else 1) as lab:
        there, running = _serve(run, lab, root, between=between)
        if between:
            lab.hosts[0].delay(_DELAY)
        for files in sets:
            run.say(f"{files.title}, {where}")
            ways = [way for way in WAYS if way.contender in run.chosen([way.contender])]
            fetches = {
                way.title: _Fetch(lab, way, there, files, between=between)
                for way in ways
                if way.server in running and (way.between or not between)
            }
            rounds = 1 if run.quick else min(_MOST_ROUNDS, run.rounds)
            answers = run.take_turns(fetches, rounds, "seconds", _AT_MOST)
            _show(run, files, where, answers)
            rates = {each: ratio(answers, _named("labc", each), RSYNC, "rate") for each in CONNECTIONS}
            if files is large:
                text = f"{files.title}, {where}, {DEFAULT} connections: at least 0.9 x the rate of rsync"
                run.report.at_least("files", text, rates[DEFAULT], 0.9, " x")
            elif files is small and between:
                text = f"{files.title}, {where}, 8 connections: at least 3 x the rate of rsync"
                run.report.at_least("files", text, rates[8], 3, " x")
            elif files is small:
                text = f"{files.title}, {where}, {DEFAULT} connections: not slower than rsync"
                run.report.at_least("files", text, rates[DEFAULT], 1, " x")
            for each in CONNECTIONS:
                faster.append(_faster(run, answers, _named("labc", each), _named("pynetwork", each)))
    return faster


def _faster(run: Run, answers: Mapping[str, Any], ours: str, other: str) -> float | None:
    """Also than one that took too long to be measured."""
    measured = ratio(answers, ours, other, "rate")
    if measured is None and answers.get(ours) and run.errors.get(other, "").startswith(_TOO_LONG):
        return _AT_MOST / median(answers[ours], "seconds")
    return measured


def _show(run: Run, files: Files, where: str, answers: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    title = f"{files.title}, whole commands, {where}"
    table = Table("files", title, ("", "seconds", "MB/s", "files/s", "rate, of rsync's", "of rsync's with sync"))
    for name, each in answers.items():
        seconds = median(each, "seconds")
        parts = [ratio(answers, name, other, "rate") for other in (RSYNC, SYNCED)]
        cells = [f"{part:.2f} x" if part is not None else "-" for part in parts]
        rates = figure(files.bytes / 1e6 / seconds), figure(files.count / seconds)
        table.rows.append((name, f"{seconds:.2f}", *rates, *cells))
    missing = [way.title for way in WAYS if way.title in run.errors and way.title not in answers]
    table.notes += [f"{name}: {run.errors[name]}" for name in missing]
    run.report.add(table)


_TOO_LONG = "took more than"


class _Fetch:
    """A command that fetches into a new folder, which is looked through, and removed."""

    def __init__(self, lab: Lab, way: Way, there: There, files: Files, *, between: bool) -> None:
        self._popen = lab.hosts[1 if between else 0].popen if lab.hosts else subprocess.Popen
        self._way = way
        self._there = there
        self._files = files

    def ask(self, timeout: float = _AT_MOST, **_: Any) -> dict[str, float]:
        """Raises OSError, TimeoutError."""
        with tempfile.TemporaryDirectory(prefix="labc-bench-to-") as to:
            os.sync()  # not to wait for what others have left
            args = self._way.command(self._there, _folder(self._files), to)
            env = {**os.environ, "PYTHONPATH": search_path(), "LABC_NETWORK": self._there.network}
            began = time.perf_counter()
            process = self._popen(args, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            try:
                out, _errors = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                raise TimeoutError(f"{_TOO_LONG} {timeout:.0f} s") from None
            finally:
                process.kill()
                process.wait()
            seconds = time.perf_counter() - began
            found = [path.stat().st_size for path in Path(to).rglob("*") if path.is_file()]
            if process.returncode or (len(found), sum(found)) != (self._files.count, self._files.bytes):
                raise OSError(f"{len(found)} files and {sum(found)} bytes came: {out[-160:]}")
            return {"seconds": seconds, "rate": self._files.bytes / seconds}

    def close(self) -> None:
        """Nothing of it runs any more."""


# What is there.


def _folder(files: Files) -> str:
    return files.title.replace(" ", "")


def _make(root: Path, files: Files) -> None:
    """Bytes that no compression makes smaller; and a list of them, for who asks for them by name."""
    folder, rng = root / _folder(files), random.Random(files.title)
    folder.mkdir()
    names = []
    for number in range(files.count):
        path = folder / f"{number:05}.bin"
        with open(path, "wb") as file:
            for start in range(0, files.size, 1 << 20):
                file.write(rng.randbytes(min(1 << 20, files.size - start)))
        names.append(str(path))
    Path(f"{folder}.list").write_text("\n".join(names))


def _serve(run: Run, lab: Lab, root: Path, *, between: bool) -> tuple[There, set[str]]:
    """The servers that could be started; empty: what needs none."""
    place = lab.place(between=between)
    ports = {server: lab.place(between=between).port for server in ("rsync", "scp", "pynetwork")}
    host = lab.hosts[0].name if lab.hosts else socket.gethostname()
    there = There(root, place.address, host, place.network, ports)
    running = {""}
    for server, start in {
        "labc": _serve_labc,
        "rsync": _serve_rsync,
        "scp": _serve_scp,
        "pynetwork": _serve_pynetwork,
    }.items():
        ways = [way for way in WAYS if way.server == server]
        if not run.chosen([way.contender for way in ways]):
            continue
        try:
            start(lab, there)
        except FAILURES as error:
            for way in ways:
                run.fail(way.title, error)
        else:
            running.add(server)
    return there, running


def _serve_labc(lab: Lab, there: There) -> None:
    server = lab.program([str(PYTHON), "-c", SERVER, str(there.root)], LABC_NETWORK=there.network)
    server.expect("ready", _START_WITHIN)


def _serve_rsync(lab: Lab, there: There) -> None:
    config = there.root / "rsyncd.conf"
    config.write_text(
        f"use chroot = no\nreverse lookup = no\nuid = {os.getuid()}\ngid = {os.getgid()}\n"
        f"[data]\npath = {there.root}\nread only = yes\n"
    )
    where = [f"--port={there.ports['rsync']}", f"--address={there.address}"]
    lab.program([_found("rsync"), "--daemon", "--no-detach", f"--config={config}", *where])
    _wait_for(lab, there, "rsync")


def _serve_scp(lab: Lab, there: There) -> None:
    sshd, _ = _found("sshd"), _found("scp")
    folder = there.root / "ssh"
    if not folder.exists():
        folder.mkdir()
        for name in ("server", "client"):
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(make, check=True, timeout=30)
        Path("/run/sshd").mkdir(exist_ok=True)
    config = folder / "config"
    config.write_text(
        f"Port {there.ports['scp']}\nListenAddress {there.address}\nHostKey {folder / 'server'}\n"
        f"AuthorizedKeysFile {folder / 'client.pub'}\nPidFile none\nStrictModes no\nUsePAM no\n"
        "PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
    )
    lab.program([sshd, "-D", "-e", "-f", str(config)])
    _wait_for(lab, there, "scp")


def _serve_pynetwork(lab: Lab, there: There) -> None:
    port = str(there.ports["pynetwork"])
    lab.program([str(PYTHON), "-m", "benchmarks.peers.pynetwork", "serve", port, str(max(CONNECTIONS))])
    _wait_for(lab, there, "pynetwork")


def _found(program: str) -> str:
    """Raises OSError."""
    if path := shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
        return path
    raise OSError(f"there is no {program} here (Debian: apt-get install rsync openssh-server openssh-client)")


def _wait_for(lab: Lab, there: There, server: str) -> None:
    """Until it can be reached from its own host. Raises TimeoutError."""
    attempt = f"import socket; socket.create_connection(('{there.address}', {there.ports[server]}), 2).close()"
    popen = lab.hosts[0].popen if lab.hosts else subprocess.Popen
    until = time.monotonic() + _START_WITHIN
    while popen([str(PYTHON), "-c", attempt], stderr=subprocess.DEVNULL).wait():
        if time.monotonic() > until:
            raise TimeoutError(f"{server} did not start")
        time.sleep(0.1)
