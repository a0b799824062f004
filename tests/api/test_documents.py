"""README and docs are run as they are printed, and what they show is what comes out.

A page is read from top to bottom, as a reader would type it: all its programs run in one directory and one network of
their own. What is done with a block:

==================================  ==================================================================================
python, first line ``# name.py``    saved as that file, and run as a program, to its end
other python                        typed into the page's notebook: one process, which keeps its variables
console                             each line after ``$`` is run; the lines below it are its output
sh                                  the same without output
text                                nothing, unless it is marked ``printed by``
==================================  ==================================================================================

A ``print(...)  # something`` must print just that. In what is shown, ``...`` stands for any text, ``'labc'`` for
the page's network, and any white space for any other. ``computer1`` is this host, in the code as well.

Marks are HTML comments on the lines before a block; ``_MARKS`` lists them.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import json
import os
import platform
import re
import signal
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

import labc
from labc.fabric.ports import root_ports, scouting_address
from labc.settings import Settings, checked
from labc.testing import Program, VirtualHosts, free_network_name, python_program

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
IDS = [page.name for page in PAGES]
BIN = Path(sys.executable).parent

MAX_NOT_RUN = 1
"""Blocks that may be marked ``not run``."""

_MARKS = {
    "keeps running": r"keeps running(?: as (?P<name>.+))?",  # until the end of the page
    "printed by": r"printed by (?P<name>.+)",  # a program that runs, or "the notebook" in the block before
    "alone": r"alone",  # in a network where nobody else is
    "exit code": r"exit code (?P<name>\d+)",  # of the block's only command
    "saved": r"saved",  # a file that is not run by itself
    "needs virtual hosts": r"needs virtual hosts",  # has a test of its own
    "not run": r"not run: (?P<name>.+)",  # with the reason
}


@dataclass
class Block:
    """A fenced block, and where it is."""

    place: str
    language: str
    text: str
    marks: dict[str, str | None] = field(default_factory=dict)

    @property
    def file(self) -> str | None:
        """The name in its first line."""
        match = re.match(r"# (\S+\.py)$", self.text.partition("\n")[0])
        return match[1] if match else None


def blocks_of(page: Path) -> Iterator[Block]:
    marks: dict[str, str | None] = {}
    block: Block | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        place = f"{page.name}:{number}"
        if block is not None:
            if line.startswith("```"):
                yield block
                block = None
            else:
                block.text += line.replace("computer1", platform.node()) + "\n"
        elif match := re.match(r"```(\w*)$", line):
            block, marks = Block(place, match[1], "", marks), {}
        elif match := re.match(r"<!-- (.*) -->$", line):
            marks |= parsed_mark(match[1], place)
        else:
            assert not marks, f"{place}: a mark must stand right before its block"
    assert block is None, f"{page.name}: {block and block.place} is not closed"


def parsed_mark(text: str, place: str) -> dict[str, str | None]:
    for kind, pattern in _MARKS.items():
        if match := re.fullmatch(pattern, text):
            return {kind: match.groupdict().get("name")}
    raise AssertionError(f"{place}: unknown mark {text!r}")


class Shown:
    """What a document shows, compared with what came out."""

    def __init__(self, network: str) -> None:
        self._network = network

    def pattern(self, text: str) -> re.Pattern[str]:
        """Matches the output for which the text stands."""
        text = text.replace("'labc'", f"'{self._network}'")
        parts = [r"\s+".join(map(re.escape, re.split(r"\s+", part.strip()))) for part in text.split("...")]
        return re.compile(r"^\s*" + r".*?".join(parts) + r"\s*$", re.DOTALL)

    def check(self, place: str, text: str, output: str) -> None:
        """All of the output."""
        assert self.pattern(text).match(output), f"{place}: it prints\n\n{output}\nand not\n\n{text}"

    def check_prints(self, block: Block, output: str) -> None:
        """The lines whose comments tell what they print, in this order; between them anything may be printed."""
        lines = iter(output.splitlines())
        for expected in prints_in(block.text):
            pattern = self.pattern(expected)
            assert any(pattern.match(line) for line in lines), (
                f"{block.place}: {expected!r} is not printed where it should be. This is printed:\n\n{output}"
            )


def prints_in(code: str) -> list[str]:
    """The comments behind ``print(...)``."""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    comments = [token for token in tokens if token.type == tokenize.COMMENT]
    return [c.string.removeprefix("#").strip() for c in comments if c.line.lstrip().startswith("print(")]


NOTEBOOK = """
    import json, sys, traceback

    variables = {"__name__": "__main__"}
    for line in sys.stdin:
        place, code = json.loads(line)
        try:
            exec(compile(code, place, "exec"), variables)
        except BaseException:
            traceback.print_exc()
            print("failed", place)
        else:
            print("done", place)
"""


class Reader:
    """Somebody who types a page."""

    def __init__(self, stack: ExitStack, directory: Path, network: str) -> None:
        self._stack = stack
        self._directory = directory
        self._network = network
        self._shown = Shown(network)
        self._programs: dict[str, Program] = {}
        self._notebook: Program | None = None
        self._noted = ""
        """What the last block printed in the notebook."""

    def do(self, block: Block) -> None:
        if block.marks.keys() & {"not run", "needs virtual hosts"}:
            return
        match block.language:
            case "python" if block.file or "keeps running" in block.marks:
                self._run_program(block)
            case "python":
                self._type(block)
            case "console" | "sh":
                for command, output in commands_in(block):
                    self._run_command(block, command, output)
            case "toml":
                for key, value in tomllib.loads(block.text).items():
                    checked(key, value)
            case "text":
                self._look_at(block)
            case _:
                raise AssertionError(f"{block.place}: a block of {block.language or 'no language'!r}")

    def _run_program(self, block: Block) -> None:
        name = block.marks.get("keeps running") or block.file
        assert name, f"{block.place}: give the program a name"
        Path(self._directory, name).write_text(block.text, encoding="utf-8")
        if "saved" in block.marks:
            return
        program = self._start(f"python {name}", self._network)
        if "keeps running" in block.marks:
            self._programs[name] = program
            if "serve()" in block.text:
                program.expect(re.compile("^labc: "), stream="stderr")
        else:
            code = program.wait(20.0)
            assert code == 0, f"{block.place}: exit code {code}\n{program.errors}"
            self._shown.check_prints(block, program.output)

    def _type(self, block: Block) -> None:
        if self._notebook is None:
            self._notebook = self._stack.enter_context(python_program(NOTEBOOK, name="notebook", cwd=self._directory))
        before = len(self._notebook.output)
        self._notebook.send_line(json.dumps([block.place, block.text]))
        end = self._notebook.expect(re.compile(rf"^(done|failed) {re.escape(block.place)}$"), 20.0)
        self._noted = self._notebook.output[before:].partition(end[0])[0]
        assert end[1] == "done", f"{block.place}:\n{self._notebook.errors}"
        self._shown.check_prints(block, self._noted)

    def _run_command(self, block: Block, command: str, output: str) -> None:
        assert command.split()[0] in ("labc", "python"), f"{block.place}: {command!r} is not run: mark it"
        network = free_network_name() if "alone" in block.marks else self._network
        program = self._start(command, network)
        if "keeps running" in block.marks:
            self._programs[block.marks["keeps running"] or command] = program
            program.expect(re.compile("^labc: "), stream="stderr")
            self._expect(program, block.place, output)
            return
        code = program.wait(20.0)
        everything = program.output + program.errors
        assert code == int(block.marks.get("exit code") or 0), f"{block.place}: exit code {code}\n{everything}"
        if block.language == "console":
            Shown(network).check(block.place, output, everything)

    def _look_at(self, block: Block) -> None:
        name = block.marks.get("printed by")
        if name == "the notebook":
            self._shown.check(block.place, block.text, self._noted)
        elif name:
            self._expect(self._programs[name], block.place, block.text)

    def _expect(self, program: Program, place: str, text: str) -> None:
        """Wait until the program has printed this."""
        for line in text.splitlines():
            pattern = self._shown.pattern(line)
            if line.startswith("labc: "):  # it was waited for when the program started
                errors = program.errors
                assert any(map(pattern.match, errors.splitlines())), f"{place}: on stderr is\n\n{errors}"
            else:
                program.expect(pattern)

    def _start(self, command: str, network: str) -> Program:
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        environment = {"LABC_NETWORK": network, "PATH": path, "COLUMNS": "120", "TERM": "dumb"}
        environment["XDG_CONFIG_HOME"] = str(self._directory / "config")
        environment["XDG_DATA_HOME"] = str(self._directory / "data")
        return self._stack.enter_context(Program(["sh", "-c", f"exec {command}"], env=environment, cwd=self._directory))


def commands_in(block: Block) -> list[tuple[str, str]]:
    """Each command with the output that is shown below it."""
    if block.language == "sh":
        return [(line, "") for line in block.text.splitlines() if line and not line.startswith("#")]
    parts = re.split(r"^\$ (.*)\n", block.text, flags=re.MULTILINE)
    assert not parts[0], f"{block.place}: it does not begin with a command"
    return list(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_a_page_runs_as_it_is_printed(page: Path, tmp_path: Path, network: str) -> None:
    with ExitStack() as stack:
        reader = Reader(stack, tmp_path, network)
        for block in blocks_of(page):
            reader.do(block)


def test_the_example_with_virtual_hosts_runs(make_lab: Callable[[int], VirtualHosts]) -> None:
    """``make_lab`` is asked for because it skips, or in CI fails, where hosts can't be made."""
    (block,) = (b for page in PAGES for b in blocks_of(page) if "needs virtual hosts" in b.marks)
    with python_program(block.text) as program:
        assert program.wait(20.0) == 0, program.errors
        Shown("").check_prints(block, program.output)


def test_few_blocks_are_not_run() -> None:
    not_run = [block.place for page in PAGES for block in blocks_of(page) if "not run" in block.marks]
    assert len(not_run) <= MAX_NOT_RUN, not_run


# What the pages say of other things.


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=[*IDS, "CHANGELOG.md"])
def test_links_and_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, target
    for path in re.findall(r"\b(?:docs|examples|src|tests)/[\w./-]*\w", text):
        assert (ROOT / path).exists(), f"{page.name} mentions {path}"


def test_every_page_is_linked_from_the_readme() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in text] == []


def test_every_verb_is_in_the_readme() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    functions = [name for name in labc.__all__ if inspect.isroutine(getattr(labc, name))]
    verbs = [name for name in functions if not name.startswith("current_")]
    assert len(verbs) >= 13
    assert [verb for verb in verbs if not re.search(rf"`{verb}\(", text)] == []


def test_the_errors_in_the_readme_are_what_it_says() -> None:
    rows = re.findall(r"^\| `(\w+Error)` \((\w+)\) \|", PAGES[0].read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(rows) >= 7
    for name, base in rows:
        error = getattr(labc, name)
        assert issubclass(error, labc.LabcError)
        assert base in [b.__name__ for b in error.__bases__]


def test_every_setting_is_in_the_table_with_its_default_and_what_it_means() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \| (.*) \|$", text, flags=re.MULTILINE)
    table = {name: (ast.literal_eval(default), doc) for name, default, doc in rows}
    explained = Settings.explained()
    defaults = {f.name: getattr(Settings(), f.name) for f in dataclasses.fields(Settings)}
    shown = {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}
    assert table == {name: (default, explained[name]) for name, default in shown.items()}


def test_the_figures_in_the_readme_are_the_defaults() -> None:
    text = " ".join(PAGES[0].read_text(encoding="utf-8").split())
    settings = Settings()
    assert f"within `find_timeout`, {settings.find_timeout:g} s" in text
    assert f"within `timeout`, {settings.timeout:g} s" in text
    assert settings.find_timeout == 2.0
    assert "a call waits two seconds for somebody" in text
    assert settings.heartbeat_timeout + settings.heartbeat_interval == 3.0
    assert "noticed within three seconds" in text
    assert settings.relay_after == 0.5
    assert "up to half a second later" in text
    first, *spares = root_ports(settings.network)
    assert f"TCP {first} ({spares[0]} to {spares[-1]} are spares)" in text
    group, _, port = scouting_address(settings.network).partition(":")
    assert f"UDP {port}, multicast group {group}" in text


def test_the_rooms_of_how_it_works_exist() -> None:
    text = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    table = text.partition("| room in `src/labc` |")[2]
    rooms = re.findall(r"`([\w.]+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:] if "|" in row))
    assert len(rooms) >= 8
    assert [room for room in rooms if not (ROOT / "src" / "labc" / room).exists()] == []


# The demo.


@pytest.fixture
def no_numpy(tmp_path: Path) -> dict[str, str]:
    """An environment for programs in which numpy can't be imported."""
    (tmp_path / "numpy.py").write_text("raise ImportError('not installed')", encoding="utf-8")
    return {"PYTHONPATH": str(tmp_path)}


def demo(environment: dict[str, str] | None = None) -> Program:
    return Program([sys.executable, str(ROOT / "examples" / "demo.py")], env=environment)


def test_the_demo_shows_every_step() -> None:
    with demo() as program:
        assert program.wait(30.0) == 0, program.output + program.errors
        assert re.findall(r"^(\d)\. ", program.output, flags=re.MULTILINE) == list("1234567")
        assert "\x1b" not in program.output, "colours are for terminals"
        assert "ndarray with 48 rows" in program.output
        assert "a numpy array stays one" in program.output


def test_the_demo_needs_no_numpy(no_numpy: dict[str, str]) -> None:
    with demo(no_numpy) as program:
        assert program.wait(30.0) == 0, program.output + program.errors
        assert "list with 48 rows" in program.output
        assert "a numpy array" not in program.output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_demo_leaves_nothing_when_it_is_interrupted(number: signal.Signals, code: int) -> None:
    with demo() as program:
        program.expect(re.compile(r"^4\. "), 20.0)
        started = psutil.Process(program.pid).children(recursive=True)
        assert len(started) >= 4
        program.send_signal(number)
        assert program.wait(10.0) == code, program.output + program.errors
        assert [process for process in started if process.is_running()] == []
