"""Real programs for tests: started as processes of their own, and waited for by what they print.

A test that waits for a line waits exactly as long as it must, and when the line does not come, the error
shows all that was printed. POSIX only.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import psutil

_STOPS_WITHIN = 10.0

Stream = Literal["stdout", "stderr"]


class Program:
    """A program that runs as a process of its own; use it in a ``with`` statement, or call :meth:`close`.

    It leads its own session and process group, so that closing it also ends the processes it started.
    Its methods may be called from any thread.

    Args:
        args: the program and its arguments.
        env: variables added to this process's environment.
        cwd: the directory it runs in.
        popen: what starts it, with the parameters of :class:`subprocess.Popen`; a virtual host's
            :meth:`~labc.testing.VirtualHost.popen`, for one.
        on_close: called once when the program was closed.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.process = popen(
            list(args),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
        self._on_close = on_close
        self._changed = threading.Condition()
        self._lines: dict[Stream, _Lines] = {"stdout": _Lines(), "stderr": _Lines()}
        self._closed = False
        self._stopped = False
        self._wake_read, self._wake_write = os.pipe()
        self._reader = threading.Thread(target=self._read, name=f"output of {self.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The id of the program's process."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended; a stopped one has not."""
        return self.process.poll() is None

    @property
    def output(self) -> str:
        """What it has printed on stdout so far."""
        with self._changed:
            return self._lines["stdout"].text()

    @property
    def errors(self) -> str:
        """What it has printed on stderr so far."""
        with self._changed:
            return self._lines["stderr"].text()

    def expect(self, line: str | re.Pattern[str], timeout: float = 10.0, *, stream: Stream = "stdout") -> re.Match[str]:
        """Wait for a line, and go on behind it: what stands before it is not looked at by the next ``expect``.

        Args:
            line: a whole line, without its end; or a pattern that is searched in each line.
            timeout: seconds.
            stream: where to look. Each of the two has a position of its own.

        Raises:
            TimeoutError: it was not printed in time.
            EOFError: it was not printed, and never will be: the program closed the stream or ended.
        """
        pattern = re.compile(rf"^{re.escape(line)}$") if isinstance(line, str) else line
        lines = self._lines[stream]
        deadline = time.monotonic() + timeout
        with self._changed:
            index = lines.position
            while True:
                while index < len(lines.complete):
                    match = pattern.search(lines.complete[index])
                    index += 1
                    if match:
                        lines.position = index
                        return match
                if lines.ended or not self._changed.wait(deadline - time.monotonic()):
                    break
        if lines.ended:
            raise EOFError(self._report(f"ended its {stream} without printing {pattern.pattern!r}"))
        raise TimeoutError(self._report(f"did not print {pattern.pattern!r} on {stream} within {timeout:g} s"))

    def send_line(self, text: str) -> None:
        """Write a line to its stdin.

        Raises:
            BrokenPipeError: the program does not read it any more.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise BrokenPipeError(self._report("reads no more")) from None

    def send_signal(self, number: int) -> None:
        """Send a signal to the program, not to the processes it started. Nothing happens when it has ended."""
        self.process.send_signal(number)

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a chance to say goodbye (SIGKILL)."""
        self.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        """Freeze it (SIGSTOP): the process stays, its connections too, and nothing in it moves until :meth:`cont`.

        Returns when it has stopped: on a busy machine its threads may go on for some milliseconds.

        Raises:
            TimeoutError: it had not stopped after ten seconds.
        """
        if self._stopped:
            return
        self.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + _STOPS_WITHIN
        while self.process.poll() is None:
            if _has_stopped(self.pid):
                self._stopped = True
                return
            if time.monotonic() > deadline:
                raise TimeoutError(self._report("did not stop"))
            time.sleep(0.0005)

    def cont(self) -> None:
        """Let a stopped program go on (SIGCONT)."""
        self._stopped = False
        self.send_signal(signal.SIGCONT)

    def wait(self, timeout: float = 10.0) -> int:
        """Wait for its end and for the rest of its output.

        Returns:
            The exit code; for a program ended by a signal, the signal's number with a minus sign.

        Raises:
            TimeoutError: it was still running after ``timeout`` seconds.
        """
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(self._report(f"was still running after {timeout:g} s")) from None
        self._reader.join(1.0)  # a process that it left behind may hold the pipes open for ever
        return code

    def close(self) -> None:
        """Kill it and all processes of its group, and free what they held. Closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        # The group outlives a leader that was waited for, as long as it has members.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(10.0)
        os.close(self._wake_write)
        self._reader.join()
        os.close(self._wake_read)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # stdin with a line that was never read
                pipe.close()
        self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _report(self, problem: str) -> str:
        code = self.process.poll()
        state = "running" if code is None else f"ended with exit code {code}"
        parts = [f"the program with process id {self.pid} {problem}; it is {state}"]
        for stream, text in (("stdout", self.output), ("stderr", self.errors)):
            shown = textwrap.indent(text.rstrip("\n"), "    ") or "    (nothing)"
            parts.append(f"{stream} so far:\n{shown}")
        return "\n".join(parts)

    def _read(self) -> None:
        """In the reader's thread: collect what is printed, until both streams ended or the program is closed."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        streams: dict[int, Stream] = {self.process.stdout.fileno(): "stdout", self.process.stderr.fileno(): "stderr"}
        with selectors.DefaultSelector() as selector:
            for number in (self._wake_read, *streams):
                selector.register(number, selectors.EVENT_READ)
            while streams:
                for key, _ in selector.select():
                    if key.fd == self._wake_read:
                        return
                    data = os.read(key.fd, 1 << 16)
                    with self._changed:
                        self._lines[streams[key.fd]].feed(data)
                        self._changed.notify_all()
                    if not data:
                        selector.unregister(key.fd)
                        del streams[key.fd]


class _Lines:
    """The lines of one stream, and how far ``expect`` has come in them."""

    def __init__(self) -> None:
        self.complete: list[str] = []
        self.position = 0
        self.ended = False
        self._partial = b""

    def feed(self, data: bytes) -> None:
        """Take what was read; nothing means that the stream ended."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        if not data:
            self.ended = True
            if self._partial:
                lines, self._partial = [self._partial], b""
        self.complete += [line.decode(errors="replace").removesuffix("\r") for line in lines]

    def text(self) -> str:
        lines = "".join(f"{line}\n" for line in self.complete)
        return lines + self._partial.decode(errors="replace")


def python_program(
    source: str,
    /,
    *args: str,
    name: str = "program",
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
) -> Program:
    """Run Python source as a program of its own, with this interpreter and its packages.

    The source is dedented and written to ``<name>.py`` in a new directory, which is removed when the program
    is closed: it is a file like any other, which child processes can import and tracebacks can quote.

    Args:
        source: the program.
        args: its arguments, ``sys.argv[1:]``.
        name: the file's name, without ``.py``.
        env, cwd, popen: as for :class:`Program`.
    """
    directory = tempfile.TemporaryDirectory(prefix="labc-program-")
    try:
        file = Path(directory.name, f"{name}.py")
        file.write_text(textwrap.dedent(source), encoding="utf-8")
        return Program([sys.executable, str(file), *args], env=env, cwd=cwd, popen=popen, on_close=directory.cleanup)
    except BaseException:
        directory.cleanup()
        raise


def _has_stopped(pid: int) -> bool:
    """Whether this child has just stopped, with all its threads."""
    if hasattr(os, "waitid"):
        try:
            return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG) is not None
        except ChildProcessError:  # it has just ended
            return False
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
