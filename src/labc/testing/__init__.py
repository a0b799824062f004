"""For tests of programs that use labc: real processes, and several hosts on one machine.

::

    from labc.testing import VirtualHosts

    with VirtualHosts(2) as lab:
        h1, h2 = lab.hosts
        server = h1.program('''
            import labc
            labc.register(lambda arg: arg, name="echo")
            print("ready")
            labc.serve()
        ''')
        server.expect("ready", timeout=5.0)
        assert h2.run([sys.executable, "client.py"]).returncode == 0
        lab.cut(h1)

:class:`Program` and :func:`python_program` work wherever there are POSIX signals. :class:`VirtualHosts` needs
Linux, root, and the ``ip``, ``nft`` and ``tc`` commands; :func:`can_make_hosts` says what is missing.
"""

from labc.testing.names import free_network_name
from labc.testing.namespaces import can_make_hosts, own_namespaces
from labc.testing.program import Program, python_program
from labc.testing.virtual_host import VirtualHost
from labc.testing.virtual_hosts import VirtualHosts

__all__ = [
    "Program",
    "VirtualHost",
    "VirtualHosts",
    "can_make_hosts",
    "free_network_name",
    "own_namespaces",
    "python_program",
]
