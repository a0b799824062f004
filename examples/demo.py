"""What labc does, on this computer alone: `make demo`, or `python examples/demo.py`.

Four programs are started that know nothing of one another: a camera, a stage and two workers. This program then
does one thing after the other with them. Of each step it prints what it is, its lines of code, and what came of it.
The exit code is 0 if everything was as it should be.
"""

import contextlib
import inspect
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax

import labc

try:
    import numpy
except ImportError:  # then the camera's pictures are lists
    numpy = None

HERE = Path(__file__).parent
PYTHON = Path(sys.executable)
console = Console(highlight=False, soft_wrap=True)  # colours only on a terminal
programs: dict[str, subprocess.Popen[str]] = {}


def call_a_function() -> None:
    """A function of another program is called by its name: no address, no server, no interface file."""
    position = labc.call("stage.move", 3.0, y=4.0)
    print(position)
    check(position == [3.0, 4.0])


def carry_a_picture() -> None:
    """Arguments and results are Python values, and a numpy array stays one."""
    picture = labc.call("camera.take", exposure=0.02)
    spot = labc.call("find_spot", picture)
    print(f"{type(picture).__name__} with {len(picture)} rows; the bright spot is at x={spot['x']}, y={spot['y']}")
    check((spot["x"], spot["y"]) == (40, 30))


if numpy is None:
    carry_a_picture.__doc__ = "Arguments and results are Python values."


def ask_everybody() -> None:
    """Both workers offer the same function. `call_all` asks each of them, and keeps values and errors apart."""
    outcomes = labc.call_all("find_spot", [[0, 1], [2, 9]])
    for outcome in outcomes:
        print(outcome.node, "answers", outcome.value if outcome.ok else outcome.error)
    check([outcome.value["by"] for outcome in outcomes] == ["worker-1", "worker-2"])


def listen_to_a_topic() -> None:
    """The stage publishes where it is while it moves, and whoever subscribes hears it."""
    heard = queue.Queue()
    subscription = labc.subscribe(lambda x, y: heard.put((x, y)), topic="stage/*")
    labc.call("stage.move", 8.0, 4.0)
    positions = [heard.get(timeout=5.0) for _ in range(5)]
    print(*positions)
    subscription.close()
    check(positions == [(4.0, 4.0), (5.0, 4.0), (6.0, 4.0), (7.0, 4.0), (8.0, 4.0)])


def make_mistakes() -> None:
    """A wrong name, a wrong argument, and an error in the function itself: each comes back as an error here."""
    errors = []
    for name, x in (("stage.mvoe", 1.0), ("stage.move", "far"), ("stage.move", 99.0)):
        try:
            labc.at(find_timeout=0).call(name, x, y=1.0)
        except labc.LabcError as error:
            print(*traceback.format_exception_only(error), sep="")
            errors.append(type(error))
    check(errors == [labc.NotFoundError, labc.ArgumentsError, labc.RemoteError])


def kill_a_worker() -> None:
    """Eight pictures are given to the two workers, and one of these is killed: the other does its work."""
    picture = labc.call("camera.take")
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = [pool.submit(labc.at(retry=1).call, "find_spot", picture) for _ in range(8)]
        answers[0].result()
        programs["worker-1"].kill()
        done_by = [answer.result()["by"] for answer in answers]
    print(*done_by)
    check(len(done_by) == 8 and labc.at(retry=1).call("find_spot", picture)["by"] == "worker-2")


def look_around() -> None:
    """Who is here, and what can be called? These commands tell it on every computer of the network."""
    for table in ("nodes", "functions"):
        print(f"$ labc {table}", flush=True)
        done = subprocess.run([PYTHON.with_name("labc"), table], timeout=20)
        check(done.returncode == 0)


STEPS = (
    call_a_function,
    carry_a_picture,
    ask_everybody,
    listen_to_a_topic,
    make_mistakes,
    kill_a_worker,
    look_around,
)


def check(as_it_should_be: bool) -> None:
    if not as_it_should_be:
        raise SystemExit("demo: this is not what it should be")


def do(number: int, step: Callable[[], None]) -> None:
    """Print what the step is and how it is done, and do it."""
    console.print(f"\n[bold]{number}. {step.__doc__}[/]\n")
    body = inspect.getsource(step).splitlines()[2:]
    code = textwrap.dedent("\n".join(line for line in body if not line.lstrip().startswith("check(")))
    console.print(Syntax("", "python", theme="ansi_dark").highlight(textwrap.indent(code, "    ")))
    step()


@contextlib.contextmanager
def program(name: str, file: str, *arguments: str) -> Iterator[None]:
    """A program of this directory as a process of its own, from when it is in the network until the end."""
    command = [PYTHON, HERE / file, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        programs[name] = process
        said = []
        try:
            for line in process.stderr:
                said.append(line)
                if line.startswith("labc: "):  # it is ready
                    break
            else:
                raise SystemExit(f"demo: {name} did not start:\n{''.join(said)}")
            yield
        finally:
            process.kill()


def main() -> None:
    os.environ["LABC_NETWORK"] = f"demo-{secrets.token_hex(4)}"  # of its own, so that it meets nobody else
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console.print("[bold]Starting a camera, a stage and two workers, each a program of its own.[/]")
    with contextlib.ExitStack() as stack:
        for name in ("camera", "stage"):
            stack.enter_context(program(name, f"{name}.py"))
        for name in ("worker-1", "worker-2"):
            stack.enter_context(program(name, "worker.py", name))
        for number, step in enumerate(STEPS, start=1):
            do(number, step)
    command = "labc" if shutil.which("labc") else os.path.relpath(PYTHON.with_name("labc"))
    console.print("\n[bold]That was all of it.[/] Now you, in two terminals or on two computers:\n")
    console.print(f"    {command} serve {os.path.relpath(HERE / 'stage.py')}\n    {command} call stage.move 3 4")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
