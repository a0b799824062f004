"""pynetwork: files over a swarm of connections. Two commands, as it has none of its own:

``python -m benchmarks.peers.pynetwork serve PORT CONNECTIONS``, and ``fetch ADDRESS PORT FOLDER TO CONNECTIONS``, which
asks over each connection for as many files: who asks has to name them, and is told how by a file that lists them.
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from pathlib import Path
from typing import Any


def serve(port: int, connections: int) -> None:
    import pynetwork

    with contextlib.redirect_stdout(io.StringIO()):  # it prints all that it does
        pynetwork.Gateway(port=port, max_poolsize=connections).start(blocking=True)


def fetch(address: str, port: int, folder: str, to: str, connections: int) -> None:
    import pynetwork

    files = Path(f"{folder}.list").read_text().split()
    controller = pynetwork.Controller(gateway_ip=address, port=port, download_dir=to, verbose=False)

    def one(client: Any, number: int) -> None:
        if mine := files[number::connections]:
            client.get_files_from_gateway(files=mine)
        client.close_handler()

    with contextlib.redirect_stdout(io.StringIO()):
        clients = [controller.get_client() for _ in range(connections)]
        threads = [threading.Thread(target=one, args=(client, number)) for number, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    match sys.argv[1:]:
        case "serve", port_, connections_:
            serve(int(port_), int(connections_))
        case "fetch", address_, port_, folder_, to_, connections_:
            fetch(address_, int(port_), folder_, to_, int(connections_))
