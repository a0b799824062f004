"""``labc settings``: what is set, where, and to what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from labc.cli.help import Program, Verb
from labc.cli.options import Json
from labc.cli.output import complain, print_json, print_table, print_value
from labc.errors import SettingsError
from labc.settings import (
    Loaded,
    Settings,
    entries,
    near_keys,
    parsed,
    project_file,
    read_text,
    replace_text,
    user_file,
)

app = typer.Typer(name="settings", cls=Program, rich_markup_mode="rich")


def _complete_key(incomplete: str) -> list[tuple[str, str]]:
    explained = Settings.explained()
    return [(key, explained[key].partition(".")[0]) for key in explained if key.startswith(incomplete)]


def _known_key(value: str) -> str:
    if value not in Settings.explained():
        hint = "".join(f"; did you mean {near!r}?" for near in near_keys(value))
        raise typer.BadParameter(f"no such setting: {value!r}{hint}")
    return value


Key = Annotated[
    str,
    typer.Argument(
        metavar="KEY", help="The setting.", callback=_known_key, autocompletion=_complete_key, show_default=False
    ),
]
Project = Annotated[
    bool,
    typer.Option("--project", help="In labc.toml of this folder, not in the user's file.", show_default=False),
]


@app.callback(invoke_without_command=True)
def settings(ctx: typer.Context) -> None:
    """What can be set, what is set, and where.

    A value comes from the first of these that has one: the program itself
    (labc.init, or options), a variable (LABC_TIMEOUT=60), labc.toml in the
    current folder, the user's file, the default.

    Without a further word: labc settings show
    """
    if ctx.invoked_subcommand is None:
        show()


@app.command(cls=Verb)
def show(as_json: Json = False) -> None:
    """List all settings, with their values and where these come from.

    [bold]Examples[/bold]
      labc settings show
      labc settings show --json
    """
    loaded = _loaded()
    values, defaults = asdict(loaded.settings), asdict(Settings())
    if as_json:
        shown = {
            key: {"value": values[key], "source": loaded.sources.get(key), "default": defaults[key]} for key in values
        }
        shown["shares"]["sources"] = {name: loaded.sources[f"shares.{name}"] for name in values["shares"]}
        print_json(shown)
        return
    rows = [row for key, value in values.items() for row in _rows(key, value, loaded.sources)]
    print_table(("SETTING", "VALUE", "SET BY"), rows)
    print("\nWhat they mean: docs/settings.md, or the file that `labc settings init` writes.")


@app.command(cls=Verb)
def get(key: Key, as_json: Json = False) -> None:
    """Print the value of one setting.

    [bold]Examples[/bold]
      labc settings get network
    """
    value = asdict(_loaded().settings)[key]
    if as_json:
        print_json(value)
    else:
        print_value(value)


@app.command("set", cls=Verb, context_settings={"ignore_unknown_options": True})  # of a negative number
def set_(
    key: Key,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="What it shall be.", show_default=False)],
    project: Project = False,
) -> None:
    """Set a value in the user's file.

    [bold]Examples[/bold]
      labc settings set network lab1
      labc settings set max_message_bytes "4 GiB" --project

    Programs that run already keep what they have.
    """
    from labc.settings import writing

    try:
        wanted = parsed(key, value)
    except ValueError as error:
        raise typer.TyperException(f"{key} = {value!r}: {error}") from None
    path = _file(project)
    _replace(path, lambda text: writing.with_value(text, key, wanted))
    print(f"{key} = {writing.toml(wanted)} in {path}")
    source = _loaded().sources.get(key, "")
    if not _is_in(source, path):
        print(f"Here it has no effect: {source} says otherwise.")


@app.command(cls=Verb)
def unset(key: Key, project: Project = False) -> None:
    """Take a value out of the user's file.

    [bold]Examples[/bold]
      labc settings unset network
    """
    from labc.settings import writing

    path = _file(project)
    if not _replace(path, lambda text: writing.without_value(text, key)):
        _give_up(f"{path} does not set {key}")
    loaded = _loaded()
    print(f"{key} = {writing.toml(asdict(loaded.settings)[key])}, {loaded.sources.get(key, 'the default')}")


@app.command(cls=Verb)
def init(project: Project = False) -> None:
    """Write the user's file, with every setting explained, and none set.

    [bold]Examples[/bold]
      labc settings init
      labc settings init --project
    """
    from labc.settings import writing

    path = _file(project)
    if path.exists():
        _give_up(f"{path} is there already; edit it, or use: labc settings set KEY VALUE")
    _write(path, writing.template(Settings.explained(), asdict(Settings())))
    print(f"{path} is written. Take the # from what you want to set.")


@app.command(cls=Verb)
def path() -> None:
    """Print the files that are read, the one that wins first.

    [bold]Examples[/bold]
      labc settings path
    """
    for file in (project_file(), user_file()):
        if file is not None:
            print(f"{_absolute(file)}{'' if file.exists() else '  (not there)'}")


def _rows(key: str, value: Any, sources: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """One; of shares one for each, as a line with several is long, and each has its own place."""
    from labc.settings import writing

    if key == "shares" and value:
        return [(f"shares.{name}", writing.toml(share), sources[f"shares.{name}"]) for name, share in value.items()]
    return [(key, writing.toml(value), sources.get(key, ""))]


def _loaded() -> Loaded:
    try:
        return Settings.load_with_sources()
    except SettingsError as error:
        raise typer.TyperException(str(error)) from None


def _file(project: bool) -> Path:
    path = project_file() if project else user_file()
    if path is None:
        _give_up("this user has no home folder for a file of its own; try --project")
    return path


def _replace(path: Path, change: Callable[[str], str]) -> bool:
    """Whether it changed the file. What was well is not broken; what is broken may be mended step by step."""
    try:
        old = read_text(path)
        new = change(old)
    except SettingsError as error:
        raise typer.TyperException(str(error)) from None
    except ValueError:
        try:
            entries(path, old)
        except SettingsError as error:
            raise typer.TyperException(str(error)) from None
        _give_up(f"{path} is too unusual to be changed by a program: edit it by hand")
    if new == old:
        return False
    problem = _problem({path: new})
    if problem and not _problem({}):
        raise typer.TyperException(problem)
    _write(path, new)
    return True


def _problem(texts: Mapping[Path, str]) -> str:
    """What is wrong with the settings if these were the files' texts."""
    try:
        Settings.load_with_sources(texts=texts)
    except SettingsError as error:
        return str(error)
    return ""


def _is_in(source: str, path: Path) -> bool:
    """Whether a value's source is this file, by whatever path."""
    name, _, _ = source.rpartition(", line ")
    try:
        return Path(name or source).samefile(path)
    except OSError:
        return False


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except OSError:  # the folder in which this process is was deleted
        return path


def _write(path: Path, text: str) -> None:
    try:
        replace_text(path, text)
    except OSError as error:
        _give_up(f"{path} can't be written: {error.strerror}")


def _give_up(sentence: str) -> NoReturn:
    complain(sentence)
    raise typer.Exit(1)
