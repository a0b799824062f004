"""``get_host(...).files``: shares of another program, as users reach them."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from trees import contents

import labc
from labc import aio

pytestmark = pytest.mark.usefixtures("here")

SERVER = "import labc\nlabc.serve()\n"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    root = tmp_path / "logs"
    (root / "2026" / "05").mkdir(parents=True)
    (root / "2026" / "none").mkdir()
    for number in range(30):
        path = root / "2026" / "05" / f"{number}.log"
        path.write_bytes(random.Random(number).randbytes(number * 100))
        os.utime(path, (1_000_000 + number, 1_000_000 + number))
    (root / "2026" / "run.sh").write_text("x")
    (root / "2026" / "run.sh").chmod(0o755)
    (root / "large.bin").write_bytes(random.Random(1).randbytes(20_000_003))
    (root / "ä [1].txt").write_text("a name that looks like a pattern")
    return root


@pytest.fixture
def files(logs: Path, tmp_path: Path, serve) -> Any:
    (tmp_path / "inbox").mkdir()
    serve(SERVER, name="nas", LABC_SHARES__LOGS=str(logs), LABC_SHARES__INBOX=f"{tmp_path / 'inbox'},write")
    return labc.get_host(socket.gethostname()).files


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_what_there_is(files: Any) -> None:
    assert [(share.name, share.read, share.write) for share in files.shares()] == [
        ("inbox", True, True),
        ("logs", True, False),
    ]
    found = files.list("logs:2026/**/*.log")
    assert [info.path for info in found] == sorted(f"logs:2026/05/{number}.log" for number in range(30))
    (info,) = files.list("logs:2026/05/7.log")
    assert (info.size, info.modified, info.executable) == (700, 1_000_007.0, False)
    assert info.time.isoformat() == "1970-01-12T13:46:47+00:00"
    assert [info.path for info in files.list("logs:2026/none")] == ["logs:2026/none/"]
    assert len(files.list("logs:", matching=r".*/[0-9]\.log")) == 10
    assert [info.path for info in files.list(["logs:ä [1].txt"])] == ["logs:ä [1].txt"]
    assert files.disk_usage("logs:2026")[:2] == (31, sum(100 * number for number in range(30)) + 1)
    assert files.disk_usage("logs:").free > 0


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("logs:2026/05/7.log", ["7.log"]),
        ("logs:2026/05/7*.log", ["2026/05/7.log"]),
        (["logs:2026/05/7.log", "logs:ä [1].txt"], ["2026/05/7.log", "ä [1].txt"]),
        ("logs:2026/05", sorted(f"05/{number}.log" for number in range(30))),
        ("logs:2026/05/", sorted(f"{number}.log" for number in range(30))),
    ],
)
def test_where_files_go(files: Any, tmp_path: Path, where: Any, expected: list[str]) -> None:
    summary = files.download(where, to=tmp_path / "to")
    assert (summary.files, summary.skipped) == (len(expected), 0)
    assert names(tmp_path / "to") == expected


def test_a_share_there_and_back(files: Any, logs: Path, tmp_path: Path) -> None:
    summary = files.download("logs:", to=tmp_path / "to", connections=8)
    assert (summary.files, summary.failed) == (33, {})
    assert contents(tmp_path / "to") == contents(logs)
    assert files.download("logs:", to=tmp_path / "to").skipped == 33
    summary = files.upload(f"{tmp_path / 'to'}/", to="inbox:run-17/back", connections=8)
    assert (summary.files, summary.failed) == (33, {})
    assert contents(tmp_path / "inbox" / "run-17" / "back") == contents(logs)
    assert files.upload(tmp_path / "to", to="inbox:").files == 33
    assert contents(tmp_path / "inbox" / "to") == contents(logs)
    summary = files.upload(f"{tmp_path / 'to'}/", to="inbox:run-17/back")
    assert (summary.files, summary.skipped) == (0, 33)


def test_checksums_and_deleting(files: Any, logs: Path, tmp_path: Path) -> None:
    files.upload([logs / "large.bin", logs / "2026" / "run.sh"], to="inbox:")
    digest = files.checksum("inbox:large.bin")
    assert digest == labc.file_checksum(logs / "large.bin")
    assert len(digest) == 32
    (logs / "large.bin").write_bytes(b"x")
    assert labc.file_checksum(logs / "large.bin") != digest
    with pytest.raises(labc.FilesError, match="another digest") as raised:
        files.delete({"inbox:large.bin": labc.file_checksum(logs / "large.bin")})
    assert list(raised.value.failed) == ["large.bin"]
    assert files.delete({"inbox:large.bin": digest}) == 1
    assert files.delete("inbox:run.sh") == 1
    assert names(tmp_path / "inbox") == []
    with pytest.raises(labc.FilesError, match="no such file"):
        files.delete(["inbox:run.sh"])
    with pytest.raises(labc.FilesError, match="write = false"):
        files.delete("logs:large.bin")


def test_a_name_that_is_no_text(files: Any, logs: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe")
    (logs / name).write_text("x")
    (info,) = files.list([f"logs:{name}"])
    assert info.path == f"logs:{name}"
    assert files.download([info.path], to=tmp_path / "to").files == 1
    files.upload(tmp_path / "to" / name, to="inbox:")
    digest = files.checksum(f"inbox:{name}")
    assert digest == labc.file_checksum(logs / name)
    assert files.delete({f"inbox:{name}": digest}) == 1
    with pytest.raises(labc.FilesError) as raised:
        files.delete(f"inbox:{name}")
    assert list(raised.value.failed) == [name]


def test_what_can_not_be_is_told(files: Any, tmp_path: Path) -> None:
    with pytest.raises(labc.FilesError, match=r"no share 'log' on .*: there are: inbox, logs"):
        files.list("log:")
    with pytest.raises(labc.FilesError, match="'2025': no such file"):
        files.download("logs:2025", to=tmp_path / "to")
    with pytest.raises(labc.FilesError, match=r"'\.\.' is no name"):
        files.list("logs:../x")
    with pytest.raises(labc.FilesError, match="expected a share and a path"):
        files.list("/etc/passwd")
    with pytest.raises(labc.FilesError, match="paths of one share"):
        files.list(["logs:a", "inbox:a"])
    with pytest.raises(labc.FilesError, match="there is no such file or folder here"):
        files.upload(tmp_path / "nothing", to="inbox:")
    with pytest.raises(labc.FilesError, match="write = false"):
        files.upload(tmp_path / "inbox", to="logs:")
    with pytest.raises(labc.FilesError, match="is a folder"):
        files.checksum("logs:2026")
    for connections in (0, 65, True, "4"):
        with pytest.raises(ValueError, match="connections"):
            files.download("logs:", to=tmp_path, connections=connections)
    with pytest.raises(labc.NotFoundError, match="nowhere"):
        labc.at(host="nowhere", find_timeout=0.2).files.list("logs:")


def test_those_that_fail_are_told_and_the_others_arrive(files: Any, tmp_path: Path) -> None:
    (tmp_path / "to" / "5.log").mkdir(parents=True)
    (tmp_path / "to" / "5.log" / "x").touch()
    with pytest.raises(labc.FilesError, match=r"1 file did not arrive: '2026/05/5\.log'") as raised:
        files.download("logs:2026/05/", to=tmp_path / "to")
    assert list(raised.value.failed) == ["2026/05/5.log"]
    assert raised.value.summary.files == 29
    with pytest.raises(labc.FilesError, match="'nothing': no such file") as raised:
        files.download(["logs:nothing", "logs:2026/run.sh"], to=tmp_path / "to")
    assert raised.value.summary.files == 1


def test_the_asynchronous_face(files: Any, logs: Path, tmp_path: Path) -> None:
    async def check() -> None:
        there = aio.get_host(socket.gethostname()).files
        assert len(await there.list("logs:2026/05")) == 30
        downloads = [there.download("logs:2026/05/", to=tmp_path / str(number)) for number in range(3)]
        assert [summary.files for summary in await asyncio.gather(*downloads)] == [30] * 3
        await there.upload(f"{tmp_path / '1'}/", to="inbox:x")
        assert await there.checksum("inbox:x/9.log") == labc.file_checksum(logs / "2026" / "05" / "9.log")
        assert await there.delete("inbox:x/9.log") == 1
        assert (await there.disk_usage("inbox:")).files == 29
        assert [share.name for share in await there.shares()] == ["inbox", "logs"]

    asyncio.run(check())


def test_cancelling_stops_it_and_it_goes_on_later(files: Any, logs: Path, tmp_path: Path) -> None:
    (logs / "huge.bin").write_bytes(random.Random(2).randbytes(1_000_003) * 300)

    async def check() -> None:
        there = aio.get_host(socket.gethostname()).files
        download = asyncio.ensure_future(there.download("logs:huge.bin", to=tmp_path / "to"))
        while not list((tmp_path / "to").glob(".labc-part-*.journal")):  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)
        download.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await download
        assert time.monotonic() - began < 2
        assert not (tmp_path / "to" / "huge.bin").exists()

    (tmp_path / "to").mkdir()
    asyncio.run(check())
    assert files.download("logs:huge.bin", to=tmp_path / "to").files == 1
    assert labc.file_checksum(tmp_path / "to" / "huge.bin") == labc.file_checksum(logs / "huge.bin")


def test_the_other_program_is_killed_meanwhile(logs: Path, tmp_path: Path, serve) -> None:
    (tmp_path / "inbox").mkdir()
    (logs / "huge.bin").write_bytes(random.Random(2).randbytes(1_000_003) * 100)
    server = serve(SERVER, name="nas", LABC_SHARES__INBOX=f"{tmp_path / 'inbox'},write")
    files = labc.at(node="nas").files
    killed = threading.Event()

    def kill() -> None:
        deadline = time.monotonic() + 20
        while not list((tmp_path / "inbox").glob(".labc-part-*")) and time.monotonic() < deadline:
            time.sleep(0.005)
        server.kill()
        killed.set()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(labc.LabcError):
            files.upload(f"{logs}/", to="inbox:")
    finally:
        killer.join()
    serve(SERVER, name="nas", LABC_SHARES__INBOX=f"{tmp_path / 'inbox'},write")
    files.upload(f"{logs}/", to="inbox:")
    assert contents(tmp_path / "inbox") == contents(logs)


def test_a_bar_shows_how_far_it_is(files: Any, tmp_path: Path, capfd) -> None:
    files.download("logs:", to=tmp_path / "to", progress=True)
    told = capfd.readouterr().err
    assert "from logs:" in told
    assert "33 of 33 files" in told


def test_a_share_that_two_programs_have(files: Any, logs: Path, tmp_path: Path, serve) -> None:
    serve(SERVER, name="second", LABC_SHARES__LOGS=f"{logs}/../logs")
    assert len(files.list("logs:2026/05")) == 30
    serve(SERVER, name="third", LABC_SHARES__LOGS=str(tmp_path))
    with pytest.raises(labc.FilesError, match="different folders as the share 'logs', nas and second and third"):
        files.list("logs:")
    assert len(labc.at(node="nas").files.list("logs:2026/05")) == 30


def test_what_takes_too_long_is_a_timeout(files: Any, logs: Path) -> None:
    with open(logs / "huge", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(labc.CallTimeoutError):
        labc.at(node="nas", timeout=0.3).files.checksum("logs:huge")
    assert len(files.list("logs:2026/05")) == 30


def test_what_can_not_be_read_is_not_listed_and_told_by_a_download(files: Any, logs: Path, tmp_path: Path) -> None:
    (logs / "2026" / "out.log").symlink_to("/etc/passwd")
    assert "logs:2026/out.log" not in [info.path for info in files.list("logs:2026")]
    with pytest.raises(labc.FilesError, match="leads out of its share"):
        files.list(["logs:2026/out.log"])
    with pytest.raises(labc.FilesError, match=r"1 file did not arrive: '2026/out.log' is a link") as told:
        files.download("logs:2026", to=tmp_path / "to")
    assert list(told.value.failed) == ["2026/out.log"]
    assert len(names(tmp_path / "to")) == 31


@pytest.mark.parametrize("setting", ["SHARE_CONNECTIONS", "MAX_SHARE_CONNECTIONS"])
def test_how_many_connections_are_served_is_a_setting(logs: Path, serve: Any, setting: str) -> None:
    serve(SERVER, name="nas", LABC_SHARES__LOGS=str(logs), **{f"LABC_{setting}": "2"})
    done = threading.Event()

    def nothing() -> Any:
        done.wait(30)
        yield from ()

    streams = [labc.stream("core.files.read", "logs", labc.outgoing(nothing())) for _ in range(3)]
    try:
        told = [next(stream)[0][0] for stream in streams]
        assert sorted(told) == ["ready", "ready", "wait"]
        streams[told.index("ready")].close()
        assert next(streams[told.index("wait")])[0][0] == "ready"
    finally:
        done.set()
        for stream in streams:
            stream.close()
