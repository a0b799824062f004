from __future__ import annotations

import pytest

from labc.fabric.election import Election
from labc.fabric.ports import DEFAULT_ROOT_PORT, root_ports, scouting_address

PORTS = (1, 2, 3)
FAST, SLOW = 0.01, 1.0


def test_without_a_root_the_first_port_is_taken() -> None:
    election = Election(PORTS)
    assert election.step()[0] == "connect"
    election.connect_failed(FAST)
    assert election.step() == ("listen", 1)


def test_who_loses_the_race_for_the_port_connects_to_the_winner() -> None:
    election = Election(PORTS)
    election.connect_failed(FAST)
    election.listen_failed()
    assert election.step()[0] == "connect"


def test_a_port_that_is_held_in_silence_is_passed_over() -> None:
    election = Election(PORTS)
    election.connect_failed(SLOW)
    assert election.step()[0] == "connect"
    assert election.patient, "its holder may be a root to which many come at once"
    for port in PORTS:
        assert election.step()[0] == "connect"
        election.connect_failed(SLOW)
        assert not election.patient, "once is enough"
        assert election.step() == ("listen", port)
        election.listen_failed()
        if port != PORTS[-1]:
            assert election.step() == ("listen", port + 1)
            election.listen_failed()
    assert election.step() == ("connect", 1), "once round, it starts again"


@pytest.mark.parametrize("listen_first", [True, False])
def test_who_loses_the_race_for_the_next_port_connects_to_the_winner(listen_first: bool) -> None:
    election = Election(PORTS, listen_first)
    while election.step() != ("listen", 2):
        if election.step()[0] == "connect":
            assert election.link_within() < 1, "nothing stands before the first port"
            election.connect_failed(SLOW)
        else:
            election.listen_failed()
    election.listen_failed()
    assert election.step()[0] == "connect"
    assert election.link_within() > 1, "the silent one is tried before it, for a second"


def test_orphans_reach_for_the_port_before_they_wait_for_a_root() -> None:
    election = Election(PORTS, listen_first=True)
    assert election.step() == ("listen", 1)
    election.listen_failed()
    assert election.step()[0] == "connect"
    election.connect_failed(SLOW)
    assert not election.patient, "the others wait for a root"
    assert election.step() == ("listen", 1)
    election.listen_failed()
    assert election.step() == ("listen", 2)


def test_the_default_network_has_the_ports_of_the_documents() -> None:
    assert root_ports("labc") == (55555, 55556, 55557, 55558)
    assert scouting_address("labc") == "224.0.0.224:7446"


def test_other_networks_have_ports_of_their_own_the_same_everywhere() -> None:
    import zlib

    slot = 1 + zlib.crc32(b"lab1") % 2400
    assert root_ports("lab1")[0] == DEFAULT_ROOT_PORT + 4 * slot
    assert scouting_address("lab1") == f"224.0.0.224:{7446 + slot}"
    assert not set(root_ports("lab1")) & set(root_ports("labc"))
    assert max(root_ports(f"network {n}")[-1] for n in range(20_000)) < 65_536


def test_a_root_port_can_be_chosen() -> None:
    assert root_ports("lab1", 4000) == (4000, 4001, 4002, 4003)


def test_a_port_whose_holder_answers_nonsense_is_passed_over_after_some_tries() -> None:
    election = Election(PORTS)
    tries = 0
    while election.step() != ("listen", 2):
        if election.step()[0] == "connect":
            election.connect_failed(FAST)
        else:
            election.listen_failed()
            tries += 1
            assert tries < 10
    assert tries > 1, "it may have been a root that had just begun"
