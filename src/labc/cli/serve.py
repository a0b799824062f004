"""``labc serve``: the functions and subscriptions of files and modules, offered until Ctrl-C."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import labc
from labc.blocking import registered, serving_elsewhere
from labc.cli.joining import told
from labc.cli.leaving import leave_as_python, leaving_after
from labc.cli.loading import LoadError, load, name_of
from labc.cli.logs import show_tracebacks
from labc.cli.options import Json, LeaveAfter, Network
from labc.cli.output import complain, print_json

Targets = Annotated[
    list[str],
    typer.Argument(metavar="FILE|MODULE", help="server.py, or a module like lab.camera.", show_default=False),
]
Reload = Annotated[
    bool,
    typer.Option(
        "--reload", help="Start again when one of the files, or what they import, changes.", show_default=False
    ),
]


def serve(
    ctx: typer.Context,
    targets: Targets,
    reload: Reload = False,
    as_json: Json = False,
    network: Network = None,
    timeout: LeaveAfter = None,
) -> None:
    """Run files or modules, and offer what they register.

    They are imported under their own names, not as [bold]__main__[/bold], and
    [bold]labc.serve()[/bold] in them returns at once; Ctrl-C ends it. The node is called
    like the first of them, unless it chooses a name.

    [bold]Examples[/bold]
      labc serve server.py
      labc serve lab.camera lab.stage --reload

    It prints the functions and subscriptions on offer; with --json, as one
    document.
    """
    if network is not None:
        os.environ["LABC_NETWORK"] = network  # also for the processes that the files start
    if reload:
        from labc.cli.reload import serve_and_reload

        serve_and_reload(targets, _without_reload(ctx, targets, as_json, timeout))
    show_tracebacks()
    leave_as_python()
    with told():
        _load(targets)
        _print_offers(as_json)
        with leaving_after(timeout):
            labc.serve()


def _load(targets: list[str]) -> None:
    """Run them all. Raises typer.Exit at the first that fails."""
    sys.argv[:] = [f"{name_of(targets[0])}.py"]  # the program that this is now; the node takes its name from there
    with serving_elsewhere():
        for target in targets:
            try:
                load(target)
            except LoadError as error:
                complain(str(error))
                if error.traceback:
                    print(error.traceback, file=sys.stderr, flush=True)
                raise typer.Exit(1) from None


def _print_offers(as_json: bool) -> None:
    functions, subscriptions = registered()
    if as_json:
        print_json(
            {
                "functions": [
                    {"name": function.name, "signature": str(function.signature), "doc": function.summary}
                    for function in functions
                ],
                "subscriptions": [{"topic": each.topic, "handler": each.__name__} for each in subscriptions],
            }
        )
        return
    for function in functions:
        print(f"function  {function.signature}" + (f"  {function.summary}" if function.summary else ""))
    for subscription in subscriptions:
        print(f"topic     {subscription.topic} -> {subscription.__name__}")
    sys.stdout.flush()
    if not functions and not subscriptions:
        complain("nothing is registered yet; what stands below `if __name__ == '__main__':` was not run")


def _without_reload(ctx: typer.Context, targets: list[str], as_json: bool, timeout: float | None) -> list[str]:
    """The command line of the server itself."""
    verbose = ctx.parent.params.get("verbose", 0) if ctx.parent else 0
    options = ["--json"] * as_json + ([f"--timeout={timeout}"] if timeout is not None else [])
    return ["--verbose"] * verbose + ["serve", *options, "--", *targets]
