"""Move the oldest logs of another computer here, when they take more there than they may.

    python backup.py nas logs --limit 500 --to backup

It asks what the share takes, fetches the oldest files that are too many, and deletes there only what has arrived with
the same checksum. Killed at any moment it loses nothing: what was begun goes on the next time. That computer offers
the share like this, in its labc.toml, with `labc serve` running there:

    [shares.logs]
    path = "/var/log/rig"
    write = true          # so that they may be deleted
    open = true           # for other computers, on a network without a key

A log that gets the name of an older one takes its place in the backup: give logs names with their dates.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import labc


def too_many(files: list[labc.FileInfo], excess: int) -> list[labc.FileInfo]:
    """The oldest of them that have so many bytes together."""
    chosen = []
    for info in sorted(files, key=lambda info: (info.modified, info.path)):
        if excess <= 0:
            break
        if not info.path.endswith("/"):  # an empty folder
            chosen.append(info)
            excess -= info.size
    return chosen


def backup(host: str, share: str, limit: int, to: Path) -> bool:
    """Whether all that had to come has."""
    there = labc.get_host(host).files
    usage = there.disk_usage(f"{share}:")
    chosen = too_many(there.list(f"{share}:"), usage.bytes - limit)
    if not chosen:
        print(f"{share} takes {usage.bytes} bytes of {limit}: nothing to do")
        return True
    failed: dict[str, str] = {}
    try:
        there.download([info.path for info in chosen], to=to, progress=sys.stderr.isatty())
    except labc.FilesError as error:
        if error.summary is None:  # nothing could even begin
            raise
        failed = error.failed
    arrived = {}
    for info in chosen:
        path = info.path.partition(":")[2]
        if path in failed:
            print(f"not fetched: {failed[path]}", file=sys.stderr)
        elif (to / path).is_file():
            arrived[info.path] = labc.file_checksum(to / path)
    deleted = there.delete(arrived) if arrived else 0
    print(f"{deleted} of {len(chosen)} files moved to {to}")
    return deleted == len(chosen)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Move the oldest logs of another computer here, when they are too many."
    )
    parser.add_argument("host")
    parser.add_argument("share")
    parser.add_argument("--limit", type=float, default=500, help="megabytes that the share may take there")
    parser.add_argument("--to", type=Path, default=Path("backup"), help="the folder here")
    given = parser.parse_args()
    try:
        return 0 if backup(given.host, given.share, int(given.limit * 1e6), given.to) else 1
    except labc.LabcError as error:
        print(f"backup: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
