"""The virtual hosts do what they say: what the other tests on them show is worth no more than this."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from labc.testing import Program, VirtualHost, VirtualHosts, own_namespaces, python_program

MakeLab = Callable[..., VirtualHosts]

SERVER = """
    import socket, sys, threading

    def serve(connection):
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    listener = socket.create_server(("", int(sys.argv[1])))
    print("ready")
    while True:
        connection, (host, _) = listener.accept()
        print("from", host)
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
"""
"""An echo on TCP, on the port given."""

CLIENT = """
    import socket, sys, time

    address, port = sys.argv[1], int(sys.argv[2])
    connection = socket.create_connection((address, port), timeout=10)
    print("connected")
    for line in sys.stdin:
        begin = time.monotonic()
        data = bytes(int(line))
        connection.sendall(data)
        left = len(data)
        while left:
            left -= len(connection.recv(1 << 16))
        print("echo", time.monotonic() - begin)
"""
"""Sends as many bytes to the echo as its stdin says, and prints the seconds until they are back."""

RECEIVER = """
    import socket, struct, sys

    group, count = sys.argv[1], 0
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
    receiver.bind(("", 7000))
    if group:
        receiver.setsockopt(
            socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton("0.0.0.0"))
    print("ready")
    while True:
        if receiver.recv(2000) == b"end":
            print("got", count)
        else:
            count += 1
"""
"""Counts the datagrams that reach port 7000, and tells when one says "end"."""

SENDER = """
    import socket, sys

    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(int(sys.argv[2])):
        sender.sendto(b"datagram", (sys.argv[1], 7000))
"""


def serve(host: VirtualHost, port: int = 5000) -> Program:
    server = host.program(SERVER, str(port), name="server")
    server.expect("ready")
    return server


def connect(host: VirtualHost, to: VirtualHost, port: int = 5000) -> Program:
    client = host.program(CLIENT, to.address, str(port), name="client")
    client.expect("connected")
    return client


def echo(client: Program, size_bytes: int = 1, timeout: float = 10.0) -> float:
    """Seconds for the way of these bytes there and back."""
    client.send_line(str(size_bytes))
    return float(client.expect(re.compile(r"echo (\S+)"), timeout).group(1))


def reaches(host: VirtualHost, to: VirtualHost, port: int = 5000) -> str:
    """What becomes of a new connection: "open", or the name of the error."""
    source = f"""\
import socket
try:
    socket.create_connection(("{to.address}", {port}), timeout=0.5)
    print("open")
except OSError as error:
    print(type(error).__name__)
"""
    return host.run([sys.executable, "-W", "ignore", "-c", source], check=True).stdout.strip()


def send(host: VirtualHost, address: str, count: int) -> None:
    with host.program(SENDER, address, str(count)) as sender:
        assert sender.wait(30.0) == 0


def received(receiver: Program, at: VirtualHost) -> int:
    """What a receiver has counted: told from its own host, where nothing is lost."""
    end = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'end', ('127.0.0.1', 7000))"
    at.run([sys.executable, "-W", "ignore", "-c", end], check=True)
    return int(receiver.expect(re.compile(r"got (\d+)")).group(1))


def ended(process: psutil.Process) -> bool:
    """Whether it is gone, or a zombie whose new parent takes its time."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_hosts_reach_each_other_and_not_the_machine(make_lab: MakeLab) -> None:
    interfaces = psutil.net_if_addrs()
    h1, h2, h3 = make_lab(3).hosts
    assert psutil.net_if_addrs() == interfaces
    server = serve(h1)
    for client in (h2, h3):
        echo(connect(client, h1), 100_000)
        server.expect(f"from {client.address}")
    assert reaches(h1, h1) == "open"
    assert "default" not in h1.run(["ip", "route"], check=True).stdout


def test_each_host_has_its_name_and_interfaces(make_lab: MakeLab) -> None:
    for index, host in enumerate(make_lab(2).hosts, 1):
        assert host.run(["hostname"], check=True).stdout == f"h{index}\n"
        source = "import psutil; print(sorted(psutil.net_if_addrs()))"
        assert host.run([sys.executable, "-c", source], check=True).stdout == "['eth0', 'lo']\n"
    assert socket.gethostname() not in ("h1", "h2")


def test_a_process_is_the_program_itself(make_lab: MakeLab) -> None:
    (host,) = make_lab(1).hosts
    process = host.popen([sys.executable, "-c", "import os; print(os.getpid())"], stdout=subprocess.PIPE, text=True)
    assert process.communicate(timeout=10.0)[0] == f"{process.pid}\n"
    with host.program("import signal; print('ready'); signal.pause()") as program:
        program.expect("ready")
        program.send_signal(signal.SIGINT)
        assert program.wait() == -signal.SIGINT
        assert "KeyboardInterrupt" in program.errors


def test_multicast_reaches_all_until_it_is_dropped(make_lab: MakeLab) -> None:
    h1, h2, h3 = hosts = make_lab(3).hosts
    receivers = [host.program(RECEIVER, "239.1.2.3") for host in hosts]
    for receiver in receivers:
        receiver.expect("ready")

    def counts() -> list[int]:
        return [received(receiver, host) for receiver, host in zip(receivers, hosts, strict=True)]

    send(h1, "239.1.2.3", 10)
    assert counts() == [10, 10, 10]
    h1.drop_multicast()
    send(h1, "239.1.2.3", 10)
    assert counts() == [20, 10, 10]
    send(h2, "239.1.2.3", 10)
    assert counts() == [20, 20, 20]
    send(h2, h1.address, 10)
    assert counts() == [30, 20, 20]
    h1.clear_firewall()
    send(h3, "239.1.2.3", 10)
    assert counts() == [40, 30, 30]


@pytest.mark.parametrize("link_down", [False, True])
def test_a_cut_cable_is_silent_and_can_be_mended(make_lab: MakeLab, link_down: bool) -> None:
    lab = make_lab(3)
    h1, h2, h3 = lab.hosts
    serve(h1)
    serve(h2)
    client = connect(h2, h1)
    echo(client)
    lab.cut(h2, link_down=link_down)
    carrier = h2.run(["cat", "/sys/class/net/eth0/carrier"], check=True).stdout.strip()
    assert carrier == ("0" if link_down else "1")
    client.send_line("1")
    with pytest.raises(TimeoutError):
        client.expect(re.compile("echo"), timeout=0.5)
    assert reaches(h3, h2) == "TimeoutError"
    assert reaches(h3, h1) == "open"
    lab.mend(h2)
    client.expect(re.compile("echo"), timeout=10.0)  # TCP repeats what was lost
    assert reaches(h3, h2) == "open"
    assert "224.0.0.0/4 dev eth0" in h2.run(["ip", "route"], check=True).stdout


def test_tcp_ports_can_be_blocked(make_lab: MakeLab) -> None:
    h1, h2 = make_lab(2).hosts
    for port in (5000, 5001):
        serve(h1, port)
    open_before = connect(h2, h1)

    def seen() -> list[str]:
        return [reaches(h2, h1, port) for port in (5000, 5001)]

    assert seen() == ["open", "open"]
    h1.block_tcp(5000)
    assert seen() == ["TimeoutError", "open"]
    assert reaches(h1, h1) == "open"
    echo(open_before)
    h1.clear_firewall()
    h1.block_tcp(all_but=[5000])
    assert seen() == ["open", "TimeoutError"]
    h1.clear_firewall()
    h1.block_tcp(answer="reject")
    assert seen() == ["ConnectionRefusedError"] * 2
    h1.clear_firewall()
    assert seen() == ["open", "open"]
    with pytest.raises(ValueError, match="not both"):
        h1.block_tcp(1, all_but=[2])


def test_a_rule_of_ones_own(make_lab: MakeLab) -> None:
    h1, h2 = make_lab(2).hosts
    serve(h1)
    h2.add_rule("output", f"ip daddr {h1.address} drop")
    assert reaches(h2, h1) != "open"
    with pytest.raises(RuntimeError, match="syntax error"):
        h2.add_rule("output", "no such thing")


def test_packets_are_lost_at_the_rate_that_was_set(make_lab: MakeLab) -> None:
    h1, h2 = make_lab(2).hosts
    receiver = h1.program(RECEIVER, "")
    receiver.expect("ready")
    send(h2, h1.address, 5000)
    assert received(receiver, h1) == 5000
    h1.lose(10)
    send(h2, h1.address, 5000)
    lost = 10_000 - received(receiver, h1)
    assert 350 <= lost <= 650  # 500 are expected; these are seven standard deviations off
    serve(h1)
    echo(connect(h2, h1), 300_000, timeout=40.0)  # TCP gets through all the same


def test_a_rate_limit_holds_in_both_directions(make_lab: MakeLab) -> None:
    h1, h2 = make_lab(2).hosts
    serve(h2)
    client = connect(h1, h2)
    assert echo(client, 1_000_000) < 0.5
    for limited in (h1, h2):
        limited.limit_rate(16e6)
        seconds = echo(client, 1_000_000)  # 0.5 s each way, of which most overlaps
        assert 0.45 < seconds < 2.5
        limited.limit_rate(None)
    assert echo(client, 1_000_000) < 0.5


def test_a_delay_holds_back_both_ways(make_lab: MakeLab) -> None:
    h1, h2, h3 = make_lab(3).hosts
    serve(h1)
    serve(h2)
    slow, quick = connect(h2, h1), connect(h3, h2)
    assert min(echo(slow) for _ in range(5)) < 0.02
    h1.delay(0.05)
    echo(slow)
    assert 0.1 <= min(echo(slow) for _ in range(5)) < 0.15
    assert min(echo(quick) for _ in range(5)) < 0.02
    echo(slow, 1_000_000)
    h1.cut()
    assert reaches(h2, h1) == "TimeoutError"
    h1.mend()
    assert reaches(h2, h1) == "open"
    h1.delay(0)
    echo(slow)
    assert min(echo(slow) for _ in range(5)) < 0.02


def test_the_end_of_a_lab_takes_everything_with_it(make_lab: MakeLab) -> None:
    lab = make_lab(2)
    names = [host.namespace for host in lab.hosts]
    assert set(names) < set(own_namespaces())
    child = "import signal, subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])"
    process = lab.hosts[0].popen([sys.executable, "-c", f"{child}; print('ready'); signal.pause()"], stdout=-1)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    children = psutil.Process(process.pid).children()
    assert len(children) == 1
    program = lab.hosts[1].program("import signal; print('ready'); signal.pause()")
    program.expect("ready")
    lab.hosts[1].delay(0.01)
    lab.__exit__()
    assert process.returncode == -signal.SIGKILL
    assert not program.running
    assert ended(children[0])
    assert own_namespaces() == []


def test_what_a_killed_run_leaves_is_removed_by_the_next(make_lab: MakeLab) -> None:
    maker_source = """
        import signal, sys
        from labc.testing import VirtualHosts
        with VirtualHosts(2) as lab:
            process = lab.hosts[0].popen([sys.executable, "-c", "import signal; signal.pause()"])
            lab.hosts[1].delay(0.01)
            print("made", process.pid, lab.hosts[0].namespace)
            signal.pause()
    """
    with python_program(maker_source) as maker:
        made = maker.expect(re.compile(r"made (\d+) (\S+)"))
        left = psutil.Process(int(made[1]))
        file = Path("/run/netns", made[2])
        alive = make_lab(1)  # another run's are let be as long as it lives
        assert not ended(left)
        assert file.exists()
        os.kill(maker.pid, signal.SIGKILL)
        maker.wait()
        make_lab(1)
        assert ended(left)
        assert [name for name in os.listdir("/run/netns") if f"-{maker.pid}-" in name] == []
        assert alive.hosts[0].run(["true"]).returncode == 0


def test_many_hosts_are_made_quickly(make_lab: MakeLab) -> None:
    begin = time.monotonic()
    hosts = make_lab(10).hosts
    assert time.monotonic() - begin < 5.0
    assert len({host.address for host in hosts}) == 10
    with pytest.raises(ValueError, match="expected 1 to"):
        VirtualHosts(0)


def can_connect(host: VirtualHost, address: str, port: int = 5000) -> bool:
    code = f"import socket; socket.create_connection(({address!r}, {port}), timeout=1).close()"
    return host.run([sys.executable, "-c", code]).returncode == 0


def test_two_ethernets_and_what_is_between(make_lab: MakeLab) -> None:
    lab = make_lab(2, 1)
    h1, h2, h3 = lab.hosts
    assert lab.lans == ((h1, h2), (h3,))
    for host in (h2, h3, lab.between):
        serve(host)
    near, far = lab.between.addresses
    assert [can_connect(h1, to) for to in (h2.address, near)] == [True, True]
    assert [can_connect(h1, to) for to in (h3.address, far)] == [False, False]
    assert [can_connect(h3, to) for to in (h2.address, near, far)] == [False, False, True]
    assert [can_connect(lab.between, to) for to in (h2.address, h3.address)] == [True, True]
    lab.forward()
    assert can_connect(h1, h3.address)
    assert can_connect(h3, h2.address)
    with pytest.raises(ValueError, match="nothing between"):
        _ = VirtualHosts(2).between
    with pytest.raises(ValueError, match=r"VirtualHosts\(1, 0\): expected 1 to"):
        VirtualHosts(1, 0)


def test_a_server_outside(make_lab: MakeLab) -> None:
    lab = make_lab(1, 1, 1)
    h1, h2, server = lab.hosts
    for host in lab.hosts:
        serve(host)
    lab.forward(only_to=2)
    assert [can_connect(host, server.address) for host in (h1, h2)] == [True, True]
    assert [can_connect(h1, h2.address), can_connect(server, h1.address)] == [False, False]
