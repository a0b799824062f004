"""What a root does of what it hears: the whole of discovery but the sockets."""

from __future__ import annotations

from labc.discovery.asking import LOOPBACK, NEIGHBOURS
from labc.discovery.datagrams import Datagram, decode, encode, network_digest, opened, sealed
from labc.discovery.plan import ANSWERS_PER_SECOND, Plan, Root, locators
from labc.discovery.subnets import Address, local_ranges, prefix_of
from labc.settings import AddressRange, Settings, subnet

OWN, OTHER = "1abc" + "0" * 28, "1abc" + "1" * 28
PORTS = (100, 101, 102, 103)


def make(settings: Settings | None = None, root_id: str = OWN, network: str = "net") -> Plan:
    return Plan(settings or Settings(), Root(network, PORTS, 100, root_id), 0.0)


def question(root_id: str = OTHER, network: str = "net") -> bytes:
    return encode(Datagram(False, network_digest(network), 100, b"a token!", root_id))


def test_two_that_ask_and_answer_are_introduced() -> None:
    asker, answerer = make(), make(root_id=OTHER)
    answer = answerer.take(asker.question("hosts"), "10.0.0.1", 100, False, 0.0)
    assert answer is not None
    assert asker.take(answer, "10.0.0.2", 100, False, 0.0) is None
    (introduction,) = asker.introductions(0.0)
    assert (introduction.root_id, locators(introduction)) == (OTHER, ["tcp/10.0.0.2:100"])
    (heard,) = asker.acquaintances.report(0.0)
    assert list(heard.methods) == ["hosts"]


def test_a_forwarded_port_is_tried_as_well() -> None:
    asker, answerer = make(), make(root_id=OTHER)
    answer = answerer.take(asker.question("hosts"), "10.0.0.1", 100, False, 0.0)
    assert answer is not None
    asker.take(answer, "10.0.0.2", 7000, False, 0.0)
    assert locators(asker.introductions(0.0)[0]) == ["tcp/10.0.0.2:100", "tcp/10.0.0.2:7000"]


def test_answers_to_what_was_not_asked_are_ignored() -> None:
    plan = make()
    forged = encode(Datagram(True, network_digest("net"), 100, bytes(8), OTHER))
    assert plan.take(forged, "10.0.0.9", 100, False, 0.0) is None
    assert plan.introductions(0.0) == []


def test_another_network_and_noise_are_counted_and_not_answered() -> None:
    plan = make()
    assert plan.take(question(network="other"), "10.0.0.9", 100, True, 0.0) is None
    assert plan.take(b"noise", "10.0.0.9", 100, True, 0.0) is None
    assert plan.foreign == 2
    assert plan.take(question(root_id=OWN), "10.0.0.9", 100, True, 0.0) is None, "its own, by multicast"
    assert plan.acquaintances.report(0.0) == []


def test_who_is_linked_gets_no_answer_by_multicast_but_one_when_it_asks_directly() -> None:
    plan = make()
    plan.see_linked({OTHER}, 0.0)
    assert plan.take(question(), "10.0.0.2", 100, True, 0.0) is None
    answer = plan.take(question(), "10.0.0.2", 100, False, 0.0)
    assert answer is not None
    datagram = decode(answer)
    assert datagram is not None
    assert (datagram.answer, datagram.token, datagram.root_id, datagram.port) == (True, b"a token!", OWN, 100)


def test_answers_are_bounded() -> None:
    plan = make()
    answered = sum(
        plan.take(question(), "10.0.0.2", 100, False, number / 10_000) is not None for number in range(20_000)
    )
    assert 2 * ANSWERS_PER_SECOND <= answered <= 2 * ANSWERS_PER_SECOND + 200
    assert plan.unanswered == 20_000 - answered


def test_many_that_ask_at_the_same_moment_are_answered_also_right_after_the_start() -> None:
    plan = make()
    assert None not in [plan.take(question(), "10.0.0.2", 100, False, 0.0) for _ in range(50)]


def test_the_methods_of_the_settings_and_no_others() -> None:
    assert {ask.method for ask in make(Settings(discovery=())).asks(0.0)} == {NEIGHBOURS}
    plan = make(Settings(discovery=("multicast", "scan"), scan_ranges=("10.0.0.0/29",)))
    plan.see_addresses(frozenset({Address("eth0", "10.0.0.1", 24)}), 0.0)
    found = [ask for tenth in range(5) for ask in (*plan.asks(tenth / 10), *plan.searches(tenth / 10))]
    assert {ask.method for ask in found} == {"multicast", "scan", NEIGHBOURS}
    assert "10.0.0.1" not in {ask.address for ask in found}, "its own address"


def test_spares_on_the_same_host_are_asked_on_loopback() -> None:
    asks = make(Settings(discovery=())).asks(0.0)
    assert [(ask.address, ask.port) for ask in asks] == [(LOOPBACK, 101), (LOOPBACK, 102), (LOOPBACK, 103)]


def test_a_new_address_and_a_lost_link_make_it_ask_again() -> None:
    plan = make()
    for tenth in range(100):
        plan.asks(tenth / 10)
    assert not [ask for ask in plan.asks(10.0) if ask.method == "multicast"]
    assert plan.see_addresses(frozenset({Address("eth0", "10.0.0.1", 24)}), 10.0)
    assert not plan.see_addresses(frozenset({Address("eth0", "10.0.0.1", 24)}), 10.1)
    assert next(ask.method for ask in plan.asks(10.0)) == "multicast"
    for tenth in range(100, 200):
        plan.asks(tenth / 10)
    plan.see_linked({OTHER}, 20.0)
    plan.see_linked(set(), 20.1)
    assert plan.asks(20.2) == [], "first the end of the link is to be known everywhere"
    assert next(ask.method for ask in plan.asks(20.6)) == "multicast"


def test_local_subnets_that_are_too_large_are_left_out() -> None:
    small, large = Address("eth0", "192.168.1.5", 24), Address("docker0", "172.17.0.1", 16)
    own, alone = Address("eth1", "169.254.3.4", 16), Address("vpn", "10.8.0.2", 32)
    assert local_ranges([small, large, own, alone], 4096) == ([subnet("192.168.1.0", 24)], [large])
    assert local_ranges([small, large], None)[1] == []
    assert subnet("192.168.1.77", 24) == AddressRange(0xC0A80101, 0xC0A801FE)


def test_prefixes() -> None:
    assert [prefix_of(mask) for mask in ("255.255.255.0", "255.255.240.0", None)] == [24, 20, 32]


SECRET = bytes(range(32))


def make_keyed(root_id: str = OWN, secret: bytes = SECRET) -> Plan:
    return Plan(Settings(), Root("net", PORTS, 100, root_id, secret), 0.0)


def test_members_of_a_keyed_network_are_introduced_for_tls() -> None:
    asker, answerer = make_keyed(), make_keyed(OTHER)
    answer = answerer.take(asker.sealed(asker.question("hosts"), "10.0.0.1"), "10.0.0.1", 100, False, 0.0)
    assert answer is not None
    asker.take(answerer.sealed(answer, "10.0.0.2"), "10.0.0.2", 100, False, 0.0)
    (introduction,) = asker.introductions(0.0)
    assert locators(introduction, "tls") == ["tls/10.0.0.2:100"]
    assert [heard.address for heard in answerer.acquaintances.report(0.0)] == ["10.0.0.1"]


def test_a_keyed_network_does_not_hear_strangers() -> None:
    plan = make_keyed()
    strange = encode(Datagram(False, network_digest("net"), 100, b"a token!", OTHER))
    assert plan.take(strange, "10.0.0.9", 100, True, 0.0) is None
    assert plan.take(sealed(strange, "10.0.0.9", bytes(32)), "10.0.0.9", 100, False, 0.0) is None
    asked = decode(plan.question("multicast"))
    assert asked is not None
    forged = encode(Datagram(True, asked.digest, 100, asked.token, OTHER))
    assert plan.take(forged, "10.0.0.9", 100, False, 0.0) is None
    assert plan.take(sealed(forged, "10.0.0.9", bytes(32)), "10.0.0.9", 100, False, 0.0) is None
    assert plan.foreign == 4
    assert plan.acquaintances.report(0.0) == []


def test_what_is_repeated_from_another_address_introduces_nobody() -> None:
    asker, answerer = make_keyed(), make_keyed(OTHER)
    question = asker.sealed(asker.question("multicast"), "10.0.0.1")
    answer = answerer.take(question, "10.0.0.66", 100, True, 0.0)
    assert answer is not None, "it may come from behind a router that translates addresses"
    assert answerer.acquaintances.report(0.0) == []
    asker.take(answerer.sealed(answer, "10.0.0.2"), "10.0.0.66", 100, False, 0.0)
    assert asker.acquaintances.report(0.0) == []


def test_a_member_whose_ports_are_forwarded_is_heard_if_it_is_named() -> None:
    asker, answerer = make_keyed(), make_keyed(OTHER)
    asker.see_places("hosts", [("10.0.0.66", 7000)], 0.0)
    answer = answerer.take(asker.sealed(asker.question("hosts"), "10.0.0.1"), "10.0.0.1", 100, False, 0.0)
    assert answer is not None
    whole = answerer.sealed(answer, "192.168.0.2")
    asker.take(whole, "10.0.0.67", 7000, False, 0.0)
    assert asker.introductions(0.0) == []
    asker.take(whole, "10.0.0.66", 7000, False, 0.0)
    assert locators(asker.introductions(0.0)[0], "tls") == ["tls/10.0.0.66:100", "tls/10.0.0.66:7000"]


def test_an_open_network_does_not_hear_members_of_a_keyed_one_of_its_name() -> None:
    keyed = make_keyed()
    assert opened(keyed.sealed(keyed.question("hosts"), "10.0.0.1"), SECRET) is not None
    named = Plan(Settings(), Root("net 0123", PORTS, 100, OTHER, SECRET), 0.0)
    assert make().take(named.sealed(named.question("hosts"), "10.0.0.1"), "10.0.0.1", 100, False, 0.0) is None
