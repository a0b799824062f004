"""Networks that never see each other, and how a program says which one it belongs to."""

from __future__ import annotations

import pytest

import labc
from labc import aio
from labc.fabric.ports import root_ports, scouting_address
from labc.testing import free_network_name

pytestmark = pytest.mark.usefixtures("here")

SERVER = """
import labc, sys
labc.register(lambda: sys.argv[1], name="who")
labc.subscribe(lambda value: print(value, flush=True), topic="t")
labc.serve()
"""


def ports(network: str) -> tuple[object, ...]:
    return root_ports(network), scouting_address(network)


@pytest.mark.parametrize("same_ports", [False, True], ids=["with ports of their own", "on the same ports"])
def test_two_networks_on_one_host(start, serve, network: str, same_ports: bool) -> None:
    """Same names, same topics, and nothing passes from one to the other."""
    other = next(name for name in iter(free_network_name, "") if (ports(name) == ports(network)) == same_ports)
    ours, theirs = serve(SERVER, "ours"), serve(SERVER, "theirs", LABC_NETWORK=other)
    client = "import labc; print([o.value for o in labc.call_all('who')], len(labc.nodes())); labc.publish('t', 'x')"
    first, second = start(client), start(client, LABC_NETWORK=other)
    first.expect("['ours'] 2")
    second.expect("['theirs'] 2")
    assert first.wait() == second.wait() == 0
    for server in (ours, theirs):
        server.expect("x")
        assert server.output == "x\n"


def test_a_network_outlives_another_whose_root_it_shares(start, serve, network: str) -> None:
    other = next(name for name in iter(free_network_name, "") if ports(name) == ports(network))
    first = serve(SERVER, "first")
    serve(SERVER, "second", LABC_NETWORK=other)
    client = start(
        """
        import labc
        labc.init(find_timeout=5)
        print(len(labc.nodes()), [f.name for f in labc.functions()], labc.call("who"), flush=True)
        input()
        print(labc.call("who"), len(labc.nodes()), flush=True)
        """,
        LABC_NETWORK=other,
    )
    client.expect("2 ['who'] second")
    first.kill()
    first.process.wait(5)
    client.send_line("")
    client.expect("second 2")
    assert client.wait() == 0


def test_a_name_that_is_part_of_another(serve, start, network: str) -> None:
    serve(SERVER, "inner", LABC_NETWORK=f"{network}/network")
    serve(SERVER, "outer", LABC_NETWORK=network)
    for name, who in ((network, "outer"), (f"{network}/network", "inner")):
        program = start("import labc; print([o.value for o in labc.call_all('who')])", LABC_NETWORK=name)
        program.expect(f"['{who}']")


@pytest.mark.parametrize("name", ["labor für optik", "*", "a/**", "$*", "x" * 200])
def test_any_printable_network_name(serve, network: str, start, name: str) -> None:
    name = f"{network} {name}"[:255]
    serve(SERVER, "it", LABC_NETWORK=name)
    labc.init(network=name)
    assert labc.call("who") == "it"


def test_arguments_win_over_the_environment(start, monkeypatch) -> None:
    monkeypatch.setenv("LABC_NAME", "from environment")
    source = "import labc; labc.init({}); [n] = labc.nodes(); print(n.name)"
    for arguments, name in (("", "from environment"), ("name='from init'", "from init")):
        program = start(source.format(arguments))
        assert program.wait() == 0, program.errors
        assert program.output == f"{name}\n"
    monkeypatch.delenv("LABC_NAME")
    program = start(source.format(""), name="my_program")
    assert program.wait() == 0
    assert program.output == "my_program\n"


def test_init_after_the_start_is_refused() -> None:
    labc.init(name="first")
    labc.init(name="second")
    assert labc.nodes()[0].name == "second"
    for module in (labc, aio):
        with pytest.raises(labc.SettingsError, match="running already"):
            module.init(name="third")
    labc.close()
    labc.init(name="fourth")
    assert labc.nodes()[0].name == "fourth"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"nam": "x"}, "no such setting"),
        ({"netwrk": "x"}, "did you mean 'network'"),
        ({"timeout": -1}, "expected seconds"),
        ({"timeout": "5"}, "expected seconds"),
        ({"network": 5}, "expected printable text"),
        ({"threads": 0}, "1 or more"),
        ({"when_full": "wait"}, "'drop-oldest' or 'hold'"),
    ],
)
def test_a_bad_setting_is_refused_at_once(settings, says: str) -> None:
    for make in (labc.init, aio.init, labc.Node):
        with pytest.raises(labc.SettingsError, match=says):
            make(**settings)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": -1.0},
        {"timeout": "2"},
        {"timeout": float("nan")},
        {"timeout": True},
        {"find_timeout": -0.1},
        {"host": ""},
        {"node": 0},
        {"node": 5.0},
        {"scope": "planet"},
        {"perspective": ""},
        {"resolve": "best"},
        {"order": "up"},
        {"retry": -1},
        {"retry": 1.5},
        {"retry": True},
    ],
)
def test_a_bad_option_is_refused_at_once(options) -> None:
    [key] = options
    for module in (labc, aio):
        with pytest.raises(ValueError, match=rf"at\({key}="):
            module.at(**options)
        with pytest.raises(TypeError):
            module.at(tiemout=1)
