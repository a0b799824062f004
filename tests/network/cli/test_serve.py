"""``labc serve``: files and modules, good ones and broken ones, and ``--reload``."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import psutil
import pytest
from network.cli.runs import SERVER, SERVES, Begin, Run

from labc.testing import Program

SERVED = "import labc\n\n@labc.register\ndef value():\n    return {}\n\nlabc.serve()\n"
PROCESS = """\
import os
import labc

@labc.register(run="process")
def where(caller: int):
    return [__name__, os.getpid() != caller]
"""
ALARM = """\
import signal

signal.signal(signal.SIGALRM, lambda *_: print("alarm", flush=True))
signal.setitimer(signal.ITIMER_REAL, 0.3)
"""


def test_serve_prints_what_it_offers(server: Program) -> None:
    server.expect("function  echo(arg)  Give it back.")
    server.expect("function  add(a: int, b: int = 1) -> int")
    server.expect("topic     print -> print")
    assert "server on" in server.errors


def test_serve_prints_what_it_offers_as_json(run: Run, tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    offers = json.loads(run("serve", "server.py", "--json", "--timeout", "0.1", cwd=tmp_path).stdout)
    assert offers["functions"][0] == {"name": "echo", "signature": "echo(arg)", "doc": "Give it back."}
    assert offers["subscriptions"] == [{"topic": "print", "handler": "print"}]


def test_a_module_and_a_file_together(run: Run, begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "camera.py").write_text(SERVED.format("__name__"))
    (tmp_path / "stage.py").write_text("import labc\nlabc.register(lambda: __name__, name='stage')")
    program = begin("serve", "lab.camera", "stage.py", cwd=tmp_path)
    program.expect(SERVES, stream="stderr")
    assert run("call", "value").stdout == "lab.camera\n"
    assert run("call", "stage").stdout == "stage\n"
    assert json.loads(run("nodes", "--json").stdout)[0]["name"] == "lab.camera"


def test_a_file_may_choose_the_name_of_its_node(run: Run, begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("import labc\nlabc.init(name='chosen')\n" + SERVED.format(1))
    begin("serve", tmp_path / "x.py").expect(re.compile("^labc: chosen on"), stream="stderr")


def test_functions_run_in_processes(run: Run, begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(PROCESS)
    program = begin("serve", tmp_path / "worker.py")
    program.expect(SERVES, stream="stderr")
    assert json.loads(run("call", "where", program.pid).stdout) == ["worker", True]


def test_functions_run_in_processes_of_a_file_that_serves(run: Run, begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(PROCESS + "\nlabc.serve()\n")
    program = begin("serve", tmp_path / "worker.py")
    program.expect(SERVES, stream="stderr")
    assert json.loads(run("call", "where", program.pid, "--timeout", 5).stdout) == ["worker", True]


def test_the_tracebacks_of_handlers_are_shown_without_ours(run: Run, begin: Begin, tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("import labc\n\n@labc.subscribe\ndef handle(x):\n    print(1 / x)\n")
    program = begin("serve", file)
    program.expect(SERVES, stream="stderr")
    run("publish", "handle", 0)
    program.expect(re.compile("handler handle of topic 'handle' raised ZeroDivisionError"), stream="stderr")
    program.expect(re.compile(f'File "{file}", line 5, in handle'), stream="stderr")
    program.expect("ZeroDivisionError: division by zero", stream="stderr")
    assert "src/labc" not in program.errors


def test_a_file_that_registers_nothing_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("")
    assert "nothing is registered" in run("serve", tmp_path / "x.py", "--timeout", 0.1).stderr


def test_a_file_given_twice_is_served_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dup.py").write_text("import labc\nlabc.register(lambda: 1, name='f')\n")
    served = run("serve", "dup.py", tmp_path / "dup.py", "--timeout", 0.1, cwd=tmp_path)
    assert served.stdout == "function  f()\n"


def test_the_timeout_leaves_the_users_alarm_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(ALARM)
    assert run("serve", tmp_path / "x.py", "--timeout", 1).stdout.endswith("alarm\n")


def test_the_timeout_may_be_over_before_the_network_is_joined(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(SERVED.format(1))
    for seconds in (0, 0.01, 0.05, 0.1, 0.2):
        run("serve", tmp_path / "x.py", "--timeout", seconds)


BROKEN = {
    "raises": ("import json\n\n\ndef f():\n    json.loads('{')\n\n\nf()\n", "labc: x.py:5: JSONDecodeError: Expecting"),
    "syntax": ("import labc\nx = = 1\n", "labc: x.py:2: SyntaxError: invalid syntax"),
    "import": ("import nosuchmodule\n", "labc: x.py:1: ModuleNotFoundError: No module named 'nosuchmodule'"),
    "ours": ("import labc\nlabc.register(lambda: 1)\n", "labc: x.py:2: ValueError: "),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_a_sentence_and_the_users_traceback(case: str, run: Run, tmp_path: Path) -> None:
    source, sentence = BROKEN[case]
    (tmp_path / "x.py").write_text(source)
    printed = run("serve", "x.py", code=1, cwd=tmp_path).stderr
    assert printed.startswith(sentence)
    assert "importlib" not in printed
    assert str(tmp_path / "x.py") in printed


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("nosuch.py", "there is no file "),
        ("nosuch", "there is no module 'nosuch', and no file of that name"),
        ("no.such", "there is no module 'no.such'"),
        ("json.py", "json.py would hide the module 'json' ("),
        ("a.b.py", "a.b.py can't be imported"),
        ("text.txt", "text.txt is no Python file"),
    ],
)
def test_what_can_not_be_served_is_one_sentence(target: str, sentence: str, run: Run, tmp_path: Path) -> None:
    for name in ("json.py", "a.b.py", "text.txt"):
        (tmp_path / name).write_text("")
    printed = run("serve", target, code=1, cwd=tmp_path).stderr
    assert printed.startswith(f"labc: {sentence}")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("target", ["folder/", ".", "folder/.."])
def test_a_folder_is_called_one(target: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    printed = run("serve", target, code=1, cwd=tmp_path).stderr
    assert printed.startswith(f"labc: '{tmp_path}")
    assert "is a folder: " in printed
    assert printed.count("\n") == 1


@pytest.fixture
def reloading(begin: Begin, tmp_path: Path) -> Program:
    """A server with a helper module, under ``--reload``."""
    (tmp_path / "helper.py").write_text("VALUE = 1\n")
    (tmp_path / "server.py").write_text(SERVED.format("helper.VALUE").replace("labc\n", "labc\nimport helper\n", 1))
    program = begin("serve", "--reload", tmp_path / "server.py")
    program.expect(SERVES, stream="stderr")
    return program


def test_reload_takes_up_edits(reloading: Program, run: Run, tmp_path: Path) -> None:
    assert run("call", "value").stdout == "1\n"
    (tmp_path / "helper.py").write_text("VALUE = 22\n")
    reloading.expect("labc: helper.py has changed: starting again", stream="stderr")
    reloading.expect(SERVES, stream="stderr")
    assert run("call", "value").stdout == "22\n"
    (tmp_path / "server.py").write_text(SERVED.format("333"))
    reloading.expect("labc: server.py has changed: starting again", stream="stderr")
    reloading.expect(SERVES, stream="stderr")
    assert run("call", "value").stdout == "333\n"


def test_reload_waits_for_a_broken_file_to_be_mended(reloading: Program, run: Run, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("VALUE = = 1\n")
    reloading.expect(re.compile("helper.py:1: SyntaxError"), stream="stderr")
    reloading.expect("labc: waiting for a change of the files", stream="stderr")
    (tmp_path / "helper.py").write_text("VALUE = 4444\n")
    reloading.expect(SERVES, stream="stderr")
    assert run("call", "value").stdout == "4444\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_reload_ends_with_its_server(number: int, code: int, reloading: Program) -> None:
    [server] = psutil.Process(reloading.pid).children()
    began = time.monotonic()
    reloading.send_signal(number)
    assert reloading.wait() == code
    assert time.monotonic() - began < 1.5
    assert not server.is_running()
