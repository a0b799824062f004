"""Which cause is named, of several that could be meant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from labc.doctor import Computer, Here, Report, Target, diagnose

HERE = Here(
    host="desk",
    network="lab1",
    keyed=False,
    version="0.1.0",
    addresses=["10.0.0.2/24 eth0"],
    ports=[55555, 55556, 55557, 55558],
    multicast_port=7446,
    discovery=["multicast"],
    root="this command",
    root_port=55555,
)
LINKED = Computer(
    host="rig",
    address="10.0.0.1",
    linked=True,
    network="lab1",
    protocol=1,
    version="0.1.0",
    root_port=55555,
    root="open",
    answers=True,
    answers_multicast=True,
    heard_by_multicast=True,
    lanes_there="open",
    lanes_back="open",
    clock=0.01,
)
ANSWERS = replace(LINKED, linked=False, lanes_there=None, lanes_back=None)


def report(*computers: Computer, target: Target | None = None, **here: Any) -> Report:
    return Report(here=replace(HERE, **here), computers=list(computers), target=target, protocol=1)


def rig(*addresses: str, **ports: Any) -> Target:
    return Target(name="rig", addresses=list(addresses or ("10.0.0.1",)), ports=ports.get("ports", {}))


def test_all_is_well() -> None:
    second = replace(LINKED, host="arm", address="10.0.0.3")
    assert diagnose(report(LINKED)) == (True, "all is well: rig is in the network", [])
    assert diagnose(report(LINKED, second)).sentence == "all is well: arm and rig are in the network"
    assert diagnose(report(LINKED, second, target=rig())).sentence == "all is well: rig is in the network"


WRONG: dict[str, tuple[Report, str]] = {
    "it can't join": (report(LINKED, error="no root answers"), "no root answers"),
    "no address": (report(addresses=[]), "this computer has no address"),
    "no address, and a name": (report(target=rig(), addresses=[]), "this computer has no address"),
    "an unknown name": (report(LINKED, target=Target(name="x", addresses=[])), "no computer is known by the name 'x'"),
    "nobody": (report(), "no other computer answers"),
    "nobody, and no multicast": (report(can_send_multicast=False), "this computer can send no multicast"),
    "lanes are shut": (report(replace(LINKED, lanes_there="silent", lanes_back="silent")), "calls go the slow way"),
    "the firewall of roots": (
        report(replace(ANSWERS, root="silent"), target=rig()),
        "rig answers, and lets no connections in at TCP port 55555",
    ),
    "a root's port is refused": (report(replace(ANSWERS, root="refused")), "rig answers, and refuses connections"),
    "no multicast": (
        report(replace(ANSWERS, answers_multicast=False, heard_by_multicast=False), target=rig()),
        "here: labc settings set hosts 10.0.0.1",
    ),
    "multicast in one direction": (report(replace(ANSWERS, heard_by_multicast=False)), "multicast does not pass"),
    "not yet": (report(ANSWERS, target=rig()), "try again in ten seconds"),
    "an older version": (report(replace(ANSWERS, protocol=0, version="0.0.1")), "update labc there"),
    "a newer version, of another network": (
        report(replace(ANSWERS, protocol=2, same_network=False)),
        "update labc here",
    ),
    "another name": (
        report(replace(ANSWERS, same_network=False, network="lab2")),
        "rig is in the network 'lab2', this computer in 'lab1'",
    ),
    "a key there": (report(replace(ANSWERS, same_network=False, network="", keyed=True)), "'lab1' is open here"),
    "a key here": (report(replace(ANSWERS, same_network=False), keyed=True), "'lab1' has a key here"),
    "another key": (report(replace(ANSWERS, same_network=False, keyed=True), keyed=True), "another key"),
    "certificates and clocks": (
        report(replace(ANSWERS, keyed=True, clock=-200_000.0), keyed=True),
        "the clock of rig is 2 days behind",
    ),
    "udp": (report(target=rig(ports={55555: "open", 55556: "refused"})), "answers nothing at UDP port 55555"),
    "no program": (report(target=rig(ports={55555: "refused", 55556: "silent"})), "no program with labc"),
    "nobody there": (report(target=rig(ports={55555: "no way"})), "nobody answers at rig (10.0.0.1)"),
    "silent": (report(target=rig(ports={55555: "silent", 55556: "no way"})), "neither by UDP nor by TCP"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong(case: str) -> None:
    what, sentence = WRONG[case]
    diagnosis = diagnose(what)
    assert not diagnosis.well
    assert sentence in diagnosis.sentence
    assert "\n" not in diagnosis.sentence


def test_who_was_asked_for_counts_and_nobody_else() -> None:
    other = replace(ANSWERS, host="arm", address="10.0.0.3", root="silent")
    assert diagnose(report(LINKED, other, target=rig())).well
    assert "arm answers" in diagnose(report(LINKED, other)).sentence
    assert "arm answers" in diagnose(report(LINKED, other, target=Target(name="ARM", addresses=[]))).sentence


def test_other_networks_side_by_side_are_no_fault() -> None:
    other = replace(ANSWERS, host="arm", same_network=False, network="lab2")
    assert diagnose(report(LINKED, other)).well


REMARKS: dict[str, tuple[Report, str]] = {
    "tcp port": (report(LINKED, first_port_is_taken=True, root_port=55556), "TCP port 55555 of this computer is held"),
    "udp port": (report(LINKED, root_answers=False), "does not answer at UDP port 55555"),
    "multicast port": (report(LINKED, can_hear_multicast=False), "UDP port 7446 of this computer is held"),
    "no udp": (report(replace(LINKED, answers=False)), "rig answers nothing by UDP"),
    "multicast one way": (report(replace(LINKED, heard_by_multicast=False)), "multicast passes only to there"),
    "multicast the other way": (report(replace(LINKED, answers_multicast=False)), "multicast passes only from there"),
    "lanes one way": (report(replace(LINKED, lanes_there="silent")), "no direct connections can be made there (rig)"),
    "lanes the other way": (report(replace(LINKED, lanes_back="silent")), "can be made from there (rig)"),
    "clocks": (report(replace(LINKED, clock=5.0)), "the clock of rig is 5.0 s ahead"),
    "versions": (report(replace(LINKED, version="0.2.0")), "rig runs labc 0.2.0, this computer 0.1.0"),
}


@pytest.mark.parametrize("case", REMARKS)
def test_what_works_and_not_as_it_should(case: str) -> None:
    what, sentence = REMARKS[case]
    diagnosis = diagnose(what)
    assert diagnosis.well
    [remark] = diagnosis.remarks
    assert sentence in remark
