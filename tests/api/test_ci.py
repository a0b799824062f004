"""What CI runs, and that nothing is left out there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labc.lanes.direct import POSSIBLE

ROOT = Path(__file__).parents[2]

MAKE = """#!/bin/sh
[ "$1" = --version ] && exit
echo "make $* with REQUIRE_VIRTUAL_HOSTS=$REQUIRE_VIRTUAL_HOSTS"
[ "$*" != "$BROKEN" ]
"""


@pytest.mark.parametrize(
    ("broken", "made"), [("nothing", ["lint", "test"]), ("lint", ["lint"]), ("test", ["lint", "test"])]
)
def test_ci_lints_and_tests_with_hosts(tmp_path: Path, broken: str, made: list[str]) -> None:
    """With commands that do nothing in place of the real ones."""
    for command in "make ip nft ps hostname python3 apt-get".split():
        file = tmp_path / command
        file.write_text(MAKE if command == "make" else "#!/bin/sh\n")
        file.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if name != "REQUIRE_VIRTUAL_HOSTS"}
    env |= {"PATH": f"{tmp_path}:{env['PATH']}", "BROKEN": broken}
    done = subprocess.run([ROOT / ".ci/run"], env=env, capture_output=True, text=True, timeout=20)
    assert (done.returncode == 0) == (broken == "nothing"), done
    lines = [line for line in done.stdout.splitlines() if line.startswith("make ")]
    assert lines == [f"make {target} with REQUIRE_VIRTUAL_HOSTS=1" for target in made]


def test_the_tests_of_direct_calls_are_not_skipped_on_linux() -> None:
    """Their files skip themselves where these calls are not possible."""
    assert POSSIBLE or sys.platform != "linux"
