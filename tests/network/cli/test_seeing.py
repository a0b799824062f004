"""``labc nodes``, ``functions``, ``ping``, ``version`` and the help."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from network.cli.runs import LABC, SERVER, SERVES, Begin, Run
from network.conftest import Until

import labc
from labc.testing import Program


@pytest.mark.usefixtures("server")
def test_nodes_prints_a_table_and_that_the_network_is_open(run: Run, network: str) -> None:
    run("call", "echo", "1")
    lines = run("nodes").stdout.splitlines()
    assert lines[0].split() == "NODE HOST ID ROOT FUNCTIONS RUNNING SERVED FAILED DROPPED".split()
    assert len(lines) == 4, "labc itself is not listed"
    assert re.fullmatch(r"server +\S+ +[0-9a-f]{8} +root +7 +0 +1 +0 +0", lines[1])
    assert lines[3] == f"The network {network!r} is open: anybody on this network can call what these nodes offer."


def test_nodes_tells_everything_with_v_and_in_json(run: Run, server: Program) -> None:
    [node] = json.loads(run("nodes", "--json").stdout)
    assert (node["name"], node["pid"], node["version"]) == ("server", server.pid, labc.__version__)
    assert node["topics"][0]["topic"] == "print"
    details = run("nodes", "-v").stdout
    assert f"  process {server.pid}, labc {labc.__version__}; 0 calls refused, 0 cancelled\n" in details
    assert "  topic print -> print: 0 waiting, 0 handled, 0 failed, 0 dropped, 0 held back\n" in details
    assert all(f"  address {address}\n" in details for address in node["addresses"])
    assert run("nodes", "--host", "nowhere").stdout == ""
    assert run("nodes", "--node", "nobody", "--json").stdout == "[]\n"
    assert len(json.loads(run("nodes", "--node", "server", "--json").stdout)) == 1


DROPS = """
import threading
import labc

@labc.subscribe(topic="t", queue_size=2)
def slow(value):
    print("handles", value, flush=True)
    threading.Event().wait()

@labc.register
def publish(count):
    for number in range(count):
        labc.publish("t", number)

labc.serve()
"""


def test_nodes_tells_what_a_slow_handler_dropped(run: Run, begin: Begin, tmp_path: Path, until: Until) -> None:
    file = tmp_path / "drops.py"
    file.write_text(DROPS)
    program = begin("serve", file)
    program.expect(SERVES, stream="stderr")
    run("call", "publish", 1)
    program.expect("handles 0")
    run("call", "publish", 9)  # two of them wait
    until(lambda: json.loads(run("nodes", "--json").stdout)[0]["dropped"] == 7)
    shown = run("nodes", "-v").stdout
    assert re.search(r"^drops .* 7$", shown, re.MULTILINE)
    assert "  topic t -> slow: 2 waiting, 0 handled, 0 failed, 7 dropped, 0 held back\n" in shown


@pytest.mark.usefixtures("server")
def test_functions_prints_signature_doc_and_place(run: Run) -> None:
    lines = run("functions").stdout.splitlines()
    assert re.split(r"  +", lines[0]) == ["FUNCTION", "WHAT IT DOES", "WHERE"]
    assert any(re.fullmatch(r"echo\(arg\) +Give it back\. +server on \S+", line) for line in lines)
    assert any(line.startswith("add(a: int, b: int = 1) -> int ") for line in lines)
    infos = json.loads(run("functions", "--json").stdout)
    assert [info["name"] for info in infos] == sorted("echo add show picture nothing fail rest".split())
    assert json.loads(run("functions", "--json", "--node", "nobody").stdout) == []


@pytest.mark.usefixtures("server")
def test_a_terminal_gets_tables_and_json_by_rich() -> None:
    assert "echo(arg)" in on_a_terminal("functions")
    assert "server" in on_a_terminal("nodes")
    assert '"a"' in on_a_terminal("call", "echo", '{"a": [1, 2]}')
    assert "b'\\x00\\xff\\n'" in on_a_terminal("call", "picture")


def test_an_empty_network_is_told(run: Run, network: str) -> None:
    nobody = run("nodes")
    assert (nobody.stdout, nobody.stderr) == ("", f"labc: there is nobody in the network {network!r}\n")
    assert run("nodes", "--json").stdout == "[]\n"
    assert run("functions").stderr == "labc: nobody offers a function\n"
    assert run("functions", "--json").stdout == "[]\n"
    assert run("ping", code=1).stderr == "labc: there is no other node in the network\n"
    here = socket.gethostname()
    assert run("ping", here, code=1).stderr == f"labc: {here!r} has no node but this command's own\n"


@pytest.mark.usefixtures("server")
def test_ping_prints_a_line_for_each_answer(run: Run) -> None:
    line = r"server on \S+: \d+\.\d\d ms\n"
    assert re.fullmatch(line, run("ping").stdout)
    assert re.fullmatch(line * 2, run("ping", "server", "--count", 2).stdout)
    [answer] = run("ping", "server", "--json", "--count", 1).stdout.splitlines()
    host = json.loads(answer)["host"]
    assert json.loads(answer)["ms"] < 1000
    assert re.fullmatch(line, run("ping", host, "--count", 1).stdout)
    unknown = run("ping", "srver", code=1).stderr
    assert unknown.startswith("labc: there is no node 'srver' (")
    assert unknown.endswith("; did you mean 'server'?\n")


@pytest.mark.usefixtures("server")
def test_a_missing_answer_to_a_ping_is_a_line_and_exit_code_1(
    run: Run, begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABC_FABRIC_LEASE", "60")  # or it may be given up before it is asked
    monkeypatch.setenv("LABC_HEARTBEAT_TIMEOUT", "61")
    (tmp_path / "frozen.py").write_text("")
    frozen = begin("serve", tmp_path / "frozen.py")
    frozen.expect(SERVES, stream="stderr")
    frozen.stop()
    lines = run("ping", "--timeout", "0.3", code=1).stdout.splitlines()
    assert re.fullmatch(r"frozen on \S+: no answer .*within 0\.3 s.*", lines[0])
    assert re.fullmatch(r"server on \S+: .* ms", lines[1])
    [answer] = run("ping", "frozen", "--timeout", "0.3", "--count", "1", "--json", code=1).stdout.splitlines()
    assert "within 0.3 s" in json.loads(answer)["error"]


def test_the_network_can_be_chosen(run: Run, server: Program, network: str) -> None:
    assert run("nodes", "--network", f"{network}-2", "--json").stdout == "[]\n"
    assert len(json.loads(run("nodes", "--network", network, "--json").stdout)) == 1


def test_each_verb_asks_in_the_network_that_it_is_told(run: Run, elsewhere: tuple[Program, str], network: str) -> None:
    _, other = elsewhere
    assert run("call", "--network", other, "echo", "hello").stdout == "hello\n"
    assert "echo(arg)" in run("functions", "--network", other).stdout
    assert re.fullmatch(r"server on .* ms\n", run("ping", "server", "--count", 1, "--network", other).stdout)
    assert "nobody offers" in run("call", "--network", network, "--find-timeout", 0.2, "echo", "hello", code=1).stderr


def test_publish_in_the_network_that_it_is_told(run: Run, elsewhere: tuple[Program, str]) -> None:
    server, other = elsewhere
    run("publish", "print", "here")
    run("publish", "print", "there", "--network", other)
    server.expect("there")
    assert "here" not in server.output.splitlines()


def test_subscribe_in_the_network_that_it_is_told(run: Run, begin: Begin, network: str) -> None:
    other = f"{network}-2"
    subscriber = begin("subscribe", "t", "--network", other, "--count", 1)
    subscriber.expect(re.compile("listening"), stream="stderr")
    run("publish", "t", "here")
    run("publish", "t", "there", "--network", other)
    assert subscriber.wait() == 0
    assert subscriber.output.split()[2] == "there"


@pytest.fixture
def elsewhere(begin: Begin, network: str, tmp_path: Path) -> tuple[Program, str]:
    """``labc serve --network`` in another network than this test's, and its name."""
    (tmp_path / "server.py").write_text(SERVER)
    server = begin("serve", "--network", f"{network}-2", tmp_path / "server.py")
    server.expect(SERVES, stream="stderr")
    return server, f"{network}-2"


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("verb", ["nodes", "functions"])
def test_no_answer_is_waited_for_longer_than_the_timeout(verb: str, run: Run) -> None:
    def seconds(timeout: float) -> float:
        began = time.monotonic()
        done = run(verb, "--timeout", timeout)
        assert "silent" in done.stdout if verb == "nodes" else "nobody offers" in done.stderr
        return time.monotonic() - began

    long, short = seconds(5.0), seconds(0.1)
    assert long > 5.0
    assert short < 4.0, "the start of the program, and 0.1 s"


def test_version(run: Run) -> None:
    assert run("--version").stdout == run("version").stdout
    assert run("version").stdout.startswith(f"labc {labc.__version__} ")
    assert json.loads(run("version", "--json").stdout)["labc"] == labc.__version__


def test_help_teaches(run: Run) -> None:
    overview = run().stdout
    assert overview == run("--help").stdout
    for verb in "serve call publish subscribe nodes functions ping".split():
        assert verb in overview
        text = run(verb, "--help").stdout
        assert text.count(f"  labc {verb}") >= 2, "two examples"
        assert "It prints" in text
        assert all(option in text for option in ("--json", "--network", "--timeout"))


def test_the_help_fits_a_narrow_terminal_and_shows_no_types_of_flags(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for verb in "serve call publish subscribe nodes functions ping version".split():
        monkeypatch.setenv("COLUMNS", "80")
        narrow = run(verb, "--help").stdout
        monkeypatch.setenv("COLUMNS", "200")
        assert paragraphs(narrow) == paragraphs(run(verb, "--help").stdout), "a line was broken"
        assert f"\n   labc {verb}" in narrow, "the examples are indented"
        assert "<bool>" not in narrow
    assert "<bool>" not in run("--help").stdout
    assert "[default: 3600]" in run("call", "--help").stdout
    assert "[VALUE]..." in run("publish", "--help").stdout
    assert "hold publishers back" in run("publish", "--help").stdout


def paragraphs(text: str) -> list[str]:
    """What stands between the usage and the tables."""
    return [line.rstrip() for line in text.partition("╭")[0].splitlines()]


def test_python_m_labc_is_labc(run: Run) -> None:
    done = subprocess.run([sys.executable, "-m", "labc", "--version"], capture_output=True, timeout=20)
    assert done.stdout.decode() == run("--version").stdout


def on_a_terminal(*arguments: str) -> str:
    """What labc prints on a terminal, without the colours."""
    master, slave = pty.openpty()
    labc = subprocess.Popen([LABC, *arguments], stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    printed = b""
    try:
        while chunk := os.read(master, 1 << 16):
            printed += chunk
    except OSError:  # how Linux tells that the other end is closed
        pass
    os.close(master)
    assert labc.wait(10) == 0, printed
    return re.sub(r"\x1b\[[0-9;]*m", "", printed.decode())


WATCHES = re.compile("^labc: watching the nodes")


def test_nodes_can_be_watched(begin: Begin, tmp_path: Path, server: Program) -> None:
    watcher = begin("nodes", "--watch")
    watcher.expect(WATCHES, stream="stderr")
    watcher.expect(re.compile(rf"^\d\d:\d\d:\d\d\.\d{{3}}  joined   server on {re.escape(socket.gethostname())}$"))
    (tmp_path / "guest.py").write_text("")
    guest = begin("serve", tmp_path / "guest.py")
    watcher.expect(re.compile("  joined   guest on "))
    guest.terminate()
    watcher.expect(re.compile("  left     guest on "))
    server.kill()
    watcher.expect(re.compile("  lost     server on "))


def test_nodes_can_be_watched_by_programs(run: Run, server: Program) -> None:
    watched = run("nodes", "--watch", "--json", "--timeout", 0.3)
    [event] = map(json.loads, watched.stdout.splitlines())
    assert (event["kind"], event["name"]) == ("joined", "server")
    assert event["time"].endswith("+00:00")
    [node] = json.loads(run("nodes", "--json").stdout)
    assert (event["id"], event["host_id"], event["host"]) == (node["id"], node["host_id"], node["host"])


@pytest.mark.usefixtures("server")
def test_only_some_nodes_can_be_watched(run: Run) -> None:
    assert "joined" in run("nodes", "--watch", "--node", "server", "--timeout", 0.3).stdout
    assert run("nodes", "--watch", "--node", "nobody", "--timeout", 0.3).stdout == ""
    assert run("nodes", "--watch", "--host", "nowhere", "--timeout", 0.3).stdout == ""


def test_nodes_are_watched_or_told_in_full(run: Run) -> None:
    assert "--watch and --verbose don't go together" in run("nodes", "--watch", "-v", code=2).stderr


@pytest.mark.usefixtures("server")
def test_watching_ends_when_nobody_reads_any_more() -> None:
    command = f"{LABC} nodes --watch | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done
    assert "joined" in done.stdout
