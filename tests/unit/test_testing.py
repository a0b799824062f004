"""Programs run for tests: what they print is waited for, and nothing of them stays."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from labc.testing import Program, free_network_name, python_program

FOREVER = "import signal\nprint('ready')\nwhile True:\n    signal.pause()\n"


def wait_ended(process: psutil.Process) -> None:
    """Wait until a process that is not our child is gone, or a zombie whose new parent takes its time."""
    deadline = time.monotonic() + 10.0
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, f"{process} goes on"
            time.sleep(0.005)


def test_network_names_differ_and_are_usable_in_keys() -> None:
    names = {free_network_name() for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch(r"[a-z0-9-]{1,40}", name) for name in names)


def test_expect_takes_whole_lines_and_patterns_in_order() -> None:
    with python_program("print('one'); print('port 17'); print('one')") as program:
        program.expect("one")
        assert program.expect(re.compile(r"port (\d+)")).group(1) == "17"
        program.expect("one")
        assert program.wait() == 0
        assert program.output == "one\nport 17\none\n"
        with pytest.raises(EOFError, match="without printing"):
            program.expect("one")


def test_expect_does_not_take_part_of_a_line() -> None:
    with python_program("print('already'); print('ready.')") as program, pytest.raises(EOFError):
        program.expect("ready")


def test_a_line_without_an_end_counts_at_the_end() -> None:
    with python_program("print('no newline', end='')") as program:
        program.expect("no newline")


def test_stderr_is_waited_for_apart() -> None:
    with python_program("import sys; print('out'); print('err', file=sys.stderr)") as program:
        program.expect("err", stream="stderr")
        program.expect("out")
        program.wait()
        assert program.errors == "err\n"


def test_a_timeout_shows_what_was_printed() -> None:
    source = "import sys; print('half way'); print('a hint', file=sys.stderr, flush=True); sys.stdin.read()"
    with python_program(source) as program:
        program.expect("a hint", stream="stderr")
        with pytest.raises(TimeoutError) as caught:
            program.expect("never", timeout=0.05)
        message = str(caught.value)
        for part in ("'^never$'", "within 0.05 s", "it is running", "    half way\n", "    a hint"):
            assert part in message


def test_the_end_of_a_program_is_told_at_once() -> None:
    with python_program("import sys; sys.exit('broken')") as program:
        begin = time.monotonic()
        with pytest.raises(EOFError, match="broken"):
            program.expect("ready", timeout=30.0)
        assert time.monotonic() - begin < 10.0
        assert program.wait() == 1


def test_wait_has_a_deadline() -> None:
    with python_program(FOREVER) as program:
        program.expect("ready")
        with pytest.raises(TimeoutError, match=r"still running after 0\.05 s"):
            program.wait(timeout=0.05)
        program.terminate()
        assert program.wait() == -signal.SIGTERM


def test_arguments_environment_and_name() -> None:
    source = """
        import os, sys
        print(sys.argv[1:], os.environ["COLOUR"], os.path.basename(__file__))
    """
    with python_program(source, "a", "b c", name="server", env={"COLOUR": "blue"}) as program:
        program.expect("['a', 'b c'] blue server.py")


def test_lines_can_be_sent() -> None:
    with python_program("for line in open(0): print(line.strip().upper())") as program:
        program.send_line("hello")
        program.expect("HELLO")
        program.send_line("again")
        program.expect("AGAIN")


def test_a_stopped_program_prints_nothing_until_it_goes_on() -> None:
    with python_program("for line in open(0): print(line.strip())") as program:
        program.send_line("one")
        program.expect("one")
        program.stop()
        program.send_line("two")
        with pytest.raises(TimeoutError):
            program.expect("two", timeout=0.1)
        program.cont()
        program.expect("two")


def test_when_it_has_stopped_none_of_its_threads_moves() -> None:
    source = """
        import threading
        def run():
            while True:
                sum(range(1000))
        for _ in range(8):
            threading.Thread(target=run, daemon=True).start()
        print("running")
        run()
    """
    with python_program(source) as program:
        program.expect("running")
        for _ in range(20):
            program.stop()
            tasks = Path(f"/proc/{program.pid}/task")
            states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks.iterdir()]
            assert states == ["T"] * 9
            program.stop()
            program.cont()


def test_stopping_what_has_ended_is_harmless() -> None:
    with python_program("pass") as program:
        program.process.wait()
        program.stop()


def test_much_output_blocks_nobody() -> None:
    with python_program("for i in range(100_000): print('x' * 50)\nprint('done')") as program:
        program.expect("done", timeout=30.0)


def test_close_ends_a_stopped_program_its_children_and_its_files() -> None:
    source = f"""
        import signal, subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", {FOREVER!r}])
        print("child", child.pid)
        signal.pause()
    """
    with python_program(source) as program:
        child = psutil.Process(int(program.expect(re.compile(r"child (\d+)")).group(1)))
        file = Path(program.process.args[1])  # type: ignore[index]
        assert file.exists()
        program.stop()
    assert not file.exists()
    assert not program.running
    wait_ended(child)
    program.close()


def test_close_does_not_wait_for_a_process_that_left_the_group() -> None:
    source = f"""
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", {FOREVER!r}], start_new_session=True)
        print("child", child.pid)
    """
    with python_program(source) as program:
        child = psutil.Process(int(program.expect(re.compile(r"child (\d+)")).group(1)))
        begin = time.monotonic()
    assert time.monotonic() - begin < 5.0
    child.kill()
    wait_ended(child)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        Program(["/nowhere/program"])
    with Program([sys.executable, "-c", ""]) as program:
        assert program.wait() == 0
