"""``labc.get_host("nas").files``: the shares of another node, for callers that block."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from labc.functions import Options
from labc.node import CONNECTIONS, DiskUsage, FileInfo, Files, FileWork, Paths, ShareInfo
from labc.portal import Portal

if TYPE_CHECKING:
    from labc.files import Summary


class BlockingFiles(Files):
    """The verbs for code that is not asynchronous, in any thread."""

    def __init__(self, portal: Portal, options: Options) -> None:
        self._portal = portal
        self._work = FileWork(options)

    def shares(self) -> builtins.list[ShareInfo]:
        return self._portal.run("files.shares", self._work.shares)

    def list(self, where: str | Iterable[str], *, matching: str | None = None) -> builtins.list[FileInfo]:
        return self._portal.run("files.list", lambda rooms: self._work.list(rooms, where, matching))

    def download(
        self,
        where: str | Iterable[str],
        *,
        to: str | os.PathLike[str] = ".",
        connections: int = CONNECTIONS,
        matching: str | None = None,
        progress: bool = False,
    ) -> Summary:
        return self._portal.run(
            "files.download",
            lambda rooms: self._work.download(rooms, where, to, connections, matching, progress),
        )

    def upload(
        self,
        what: Paths,
        *,
        to: str,
        connections: int = CONNECTIONS,
        matching: str | None = None,
        progress: bool = False,
    ) -> Summary:
        return self._portal.run(
            "files.upload", lambda rooms: self._work.upload(rooms, what, to, connections, matching, progress)
        )

    def disk_usage(self, where: str) -> DiskUsage:
        return self._portal.run("files.disk_usage", lambda rooms: self._work.disk_usage(rooms, where))

    def checksum(self, where: str) -> str:
        return self._portal.run("files.checksum", lambda rooms: self._work.checksum(rooms, where))

    def delete(self, where: str | Iterable[str] | Mapping[str, str]) -> int:
        return self._portal.run("files.delete", lambda rooms: self._work.delete(rooms, where))
