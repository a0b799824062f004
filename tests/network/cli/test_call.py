"""``labc call``: arguments in, results out, and what happens when it goes wrong."""

from __future__ import annotations

import json
import subprocess
import time

import pytest
from network.cli.runs import LABC, Begin, Run

from labc.testing import Program

WORDS = [
    (["echo", "hello"], "hello\n", "hello"),
    (["echo", "3"], "3\n", 3),
    (["echo", "-1"], "-1\n", -1),
    (["echo", "-hello"], "-hello\n", "-hello"),
    (["echo", "[1,2]"], "[1, 2]\n", [1, 2]),
    (["echo", "true"], "true\n", True),
    (["echo", '"3"'], "3\n", "3"),
    (["echo", "Grüße, 世界"], "Grüße, 世界\n", "Grüße, 世界"),
    (["add", "2", "--b", "-5"], "-3\n", -3),
    (["add", "--b=5", "2"], "7\n", 7),
    (["nothing"], "", None),
    (
        ["show", "1", "--flag", "--max-speed", "2", "--on"],
        '[[1], {"flag": true, "max_speed": 2, "on": true}]\n',
        [[1], {"flag": True, "max_speed": 2, "on": True}],
    ),
    (
        ["show", "--timeout", "9", "--", "--timeout", "3", "--json"],
        '[[], {"timeout": 3, "json": true}]\n',
        [[], {"timeout": 3, "json": True}],
    ),
    (["--timeout", "9", "--find-timeout=1", "show", "x"], '[["x"], {}]\n', [["x"], {}]),
    (["echo", "1", "--node", "server"], "1\n", 1),
    (["--scope", "host", "echo", "1"], "1\n", 1),
    (["show", "1", "--scope=network", "--", "--scope", "2"], '[[1], {"scope": 2}]\n', [[1], {"scope": 2}]),
]


@pytest.mark.usefixtures("server")
def test_words_become_arguments_and_the_result_is_printed(run: Run) -> None:
    for words, printed, value in WORDS:
        assert run("call", *words).stdout == printed, words
        assert json.loads(run("call", "--json", *words).stdout) == value, words


@pytest.mark.usefixtures("server")
def test_bytes_go_to_a_file_as_they_are_and_into_json_as_base64(run: Run) -> None:
    assert subprocess.run([LABC, "call", "picture"], capture_output=True, timeout=20).stdout == bytes([0, 255, 10])
    assert run("call", "picture", "--json").stdout == '"AP8K"\n'


@pytest.mark.usefixtures("server")
def test_all_calls_every_provider_and_prints_a_line_for_each(run: Run, begin: Begin, server: Program) -> None:
    outcomes = json.loads(run("call", "echo", "--all", "3", "--json").stdout)
    assert [(o["node"], o["value"]) for o in outcomes] == [("server", 3)]
    assert run("call", "--all", "echo", "a\nb").stdout.startswith("server on ")
    failed = run("call", "fail", "--all", code=1)
    assert "ValueError: no coffee" in failed.stdout


@pytest.mark.usefixtures("server")
def test_what_goes_wrong_is_one_sentence_on_stderr_and_exit_code_1(run: Run) -> None:
    unknown = run("call", "ecoh", code=1).stderr
    assert unknown.startswith("labc: nobody offers 'ecoh'")
    assert unknown.endswith("did you mean 'echo'?\n")
    assert unknown.count("\n") == 1
    assert "'a'" in run("call", "add", "two", code=1).stderr
    assert "'arg'" in run("call", "echo", code=1).stderr
    late = run("call", "rest", "9", "--timeout", "0.2", code=1)
    assert "within 0.2 s" in late.stderr
    assert "not at nowhere" in run("call", "echo", "1", "--node", "nowhere", "--find-timeout", "0", code=1).stderr
    assert late.stdout == ""


def test_the_remote_traceback_follows_unless_the_output_is_for_programs(run: Run, server: Program) -> None:
    failed = run("call", "fail", code=1).stderr.splitlines()
    assert failed[0].startswith("labc: ValueError: no coffee (at server on ")
    assert 'raise ValueError("no coffee")' in failed[-2]
    assert len(run("call", "fail", "--json", code=1).stderr.splitlines()) == 1
    server.expect("""    raise ValueError("no coffee")""", stream="stderr")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["call"], "missing argument 'NAME'"),
        (["cal", "echo"], "no such command 'cal'. Did you mean 'call'?"),
        *(
            (["call", "echo", "--timeout", text], f"'--timeout': expected seconds, like 2.5; got {text!r} (")
            for text in ("-1", "nan", "1e300", "1e400", "soon")
        ),
        (["call", "echo", "--host", ""], "'--host': expected a name"),
        (["call", "echo", "--network", ""], "'--network'"),
        *(
            ([verb, "--scope", "hots", "x"], "'--scope': expected node, group, host, network or wan; got 'hots' (")
            for verb in ("call", "publish", "subscribe")
        ),
        (["functions", "--scope", "wen"], "'--scope': expected node, group, host, network or wan; got 'wen' ("),
        (["call", "echo", "--perspective", ""], "'--perspective': expected a name"),
        *(
            (["publish", "--retain", "x", option, "host"], "--retain is for the whole network, and not for a --host, ")
            for option in ("--host", "--node", "--scope")
        ),
        (["call", "--x", "1"], "'NAME': expected a name before --x;"),
        (["call", "-v", "echo"], "'NAME': expected a name before -v;"),
        (["call", "--", "-h2"], "'NAME': expected a name before -h2;"),
        (["call", ""], "expected at least one letter"),
        (["publish", "-v", "x"], "'TOPIC': expected a name before -v;"),
        (["publish", "a//b"], "topic 'a//b': level 2 is empty"),
        (["publish", "a/*"], "topic 'a/*': wildcards are for subscribing"),
        (["subscribe", "a**b"], "topic pattern 'a**b': "),
        (["call", "f", "--x", "1", "--x", "2"], "the keyword 'x' is given twice"),
        (["call", "f", "--1", "1"], "'--1' can't be a keyword"),
        (["nodes", "--color"], "no such option: --color"),
        (["subscribe", "x", "--count", "0"], "'--count': expected a whole number, 1 or more; got '0' ("),
        (["ping", "--count", "x"], "'--count': expected a whole number, 0 or more; got 'x' ("),
        (["ping", ""], "'NODE|HOST': expected a name"),
        (["serve"], "missing argument"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(arguments: list[str], problem: str, run: Run) -> None:
    failed = run(*arguments, code=2)
    assert failed.stdout == ""
    assert failed.stderr.startswith("labc: ")
    assert problem in failed.stderr
    assert "--help`)\n" in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_a_mistake_in_the_environment_is_not_blamed_on_an_option(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABC_NAME", "a\nb")
    assert run("version").stderr == ""
    told = run("nodes", code=2).stderr
    assert told.startswith("labc: environment variable LABC_NAME=")
    assert told.count("\n") == 1
    assert "--" not in told


@pytest.mark.parametrize("verb", ["call", "publish"])
def test_h_before_any_name_shows_the_help(verb: str, run: Run) -> None:
    text = run(verb, "--help").stdout
    assert run(verb, "-h").stdout == text
    assert run(verb, "--json", "-h", "echo").stdout == text


def test_without_patience_an_unknown_name_is_told_at_once(run: Run) -> None:
    began = time.monotonic()
    run("call", "nobody", "--find-timeout", "0", code=1)
    assert time.monotonic() - began < 1.5
