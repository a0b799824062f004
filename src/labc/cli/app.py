"""The ``labc`` program: its verbs, and how it ends."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

import labc
from labc.cli import (
    call,
    doctor,
    forget,
    functions,
    get,
    last,
    ls,
    network,
    nodes,
    ping,
    publish,
    put,
    router,
    serve,
    settings,
    shares,
    stream,
    subscribe,
    sync,
    version,
)
from labc.cli.help import Program, Verb
from labc.cli.leaving import leave, leave_on_signals
from labc.cli.logs import show_logs
from labc.cli.options import ANY_ARGUMENTS
from labc.cli.output import complain

app = typer.Typer(
    name="labc",
    cls=Program,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback(invoke_without_command=True)
def labc_options(
    verbose: Annotated[
        int,
        typer.Option("--verbose", "-v", count=True, help="Say more on stderr; twice: even more.", show_default=False),
    ] = 0,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=version.when_asked, is_eager=True)
    ] = False,
) -> None:
    """The computers of a lab, a workshop or a robot as one Python program.

    [bold]labc serve server.py[/bold]      offers the functions of a file
    [bold]labc call echo Hello[/bold]      calls one of them, from any computer of the network
    [bold]labc nodes[/bold]                shows who is there

    Each verb explains itself: [bold]labc call --help[/bold]
    """
    show_logs(verbose)


app.command(cls=Verb)(serve.serve)
app.command(cls=Verb, context_settings=ANY_ARGUMENTS)(call.call)
app.command(cls=Verb, context_settings=ANY_ARGUMENTS)(stream.stream)
app.command(cls=Verb, context_settings=ANY_ARGUMENTS)(publish.publish)
app.command(cls=Verb)(subscribe.subscribe)
app.command(cls=Verb)(last.last)
app.command(cls=Verb)(forget.forget)
app.command(cls=Verb)(shares.shares)
app.command(cls=Verb)(ls.ls)
app.command(cls=Verb)(get.get)
app.command(cls=Verb)(put.put)
app.command(cls=Verb)(sync.sync)
app.command(cls=Verb)(nodes.nodes)
app.command(cls=Verb)(functions.functions)
app.command(cls=Verb)(ping.ping)
app.command(cls=Verb)(doctor.doctor)
app.command(cls=Verb)(router.router)
app.add_typer(network.app)
app.add_typer(settings.app)
app.command(cls=Verb)(version.version)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run ``labc`` with these arguments (the program's own, without) and end the program.

    Its exit code is 0; 1 when it could not do what was asked, with a sentence on stderr; 2 for wrong usage;
    130 after Ctrl-C and 143 after SIGTERM.
    """
    leave_on_signals()
    _open_outputs()
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
    finally:
        labc.close()
    leave(code)


def _run(arguments: Sequence[str]) -> int:
    try:
        code = app(arguments or ["--help"], prog_name="labc", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as ending:  # a signal, the end of shell completion, or how typer takes a closed pipe
        if isinstance(ending.__context__, BrokenPipeError):
            return _forget_stdout()
        if not isinstance(ending.code, int):
            raise
        return ending.code
    except typer.TyperException as error:  # of the command line itself
        complain(_usage_sentence(error))
        return 2
    except BrokenPipeError:
        return _forget_stdout()
    except OSError as error:  # of the output: a full disk
        complain(str(error))
        _forget_stdout()
        return 1
    return code if isinstance(code, int) else 0


def _open_outputs() -> None:
    """Whatever others send, and wherever it goes: printing it does not fail."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")


def _usage_sentence(error: typer.TyperException) -> str:
    message = error.format_message().strip().rstrip(".")
    sentence = f"{message[:1].lower()}{message[1:]}"
    context = getattr(error, "ctx", None)
    return f"{sentence} (see `{context.command_path} --help`)" if context else sentence


def _forget_stdout() -> int:
    """After `labc nodes | head -1`: whoever read it has enough. What is still to be printed goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
