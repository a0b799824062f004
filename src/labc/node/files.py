"""``get_host("nas").files``: the shares of another node. Said once for both faces, and done in threads for both."""

from __future__ import annotations

import asyncio
import builtins
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from labc.errors import ClosedError, FilesError, NotFoundError, PeerLostError
from labc.functions import EndOfStream, Options, Outcome, Outgoing
from labc.node.runtime import Runtime
from labc.node.streams import Stream, StreamWish
from labc.settings import is_share_name

if TYPE_CHECKING:
    from labc.files import Place, Summary
    from labc.files.order import Order

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
Operation = Callable[[Runtime], Awaitable[Any]]

_SHARES = "core.shares"
CONNECTIONS = 4
"""When nothing else is said."""


class FileInfo(NamedTuple):
    """A file of a share; or an empty folder, whose path ends with a slash."""

    path: str
    """As all verbs take it: ``logs:2026/run.log``."""
    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970, UTC."""
    executable: bool = False

    @property
    def time(self) -> datetime:
        """When it was modified, in UTC."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=self.modified)


class DiskUsage(NamedTuple):
    """What a folder of a share takes."""

    files: int
    bytes: int
    free: int
    """Bytes that can still be written on its disk."""


class ShareInfo(NamedTuple):
    """A share that this program may use."""

    name: str
    read: bool
    write: bool
    host: str
    node: str


def file_checksum(path: str | os.PathLike[str]) -> str:
    """The digest of a file of this computer: the same as ``files.checksum`` tells of one elsewhere with the same bytes.

    32 hexadecimal digits, of XXH3-128 over those of its parts of 1 MiB. It finds what was spoiled, and not what
    somebody has forged.

    Raises:
        FilesError: it is no plain file, or was written to meanwhile.
        OSError: it can't be read.
    """
    from labc.files import checksum

    return checksum(path)


class Files(ABC):
    """The files of the shares of a host, as :doc:`labc.get_host("nas").files </files>`.

    A place is ``share:path``. A path ``2026`` of a folder means the folder with all that is in it, ``2026/`` what is in
    it; globs have ``*``, ``?``, ``[a-z]`` and ``**`` for any number of folders; in a list, each path is just itself.
    """

    @abstractmethod
    def shares(self) -> Any:
        """The shares that this program may use, there.

        Returns:
            A list of :class:`ShareInfo`, sorted; empty, if there is none.
        """

    @abstractmethod
    def list(self, where: str | Iterable[str], *, matching: str | None = None) -> Any:
        """The files that a place means, each as :class:`FileInfo`, and empty folders.

        Args:
            where: a path, a glob, or a list of paths.
            matching: only files whose path within the share this regular expression matches as a whole.

        Raises:
            FilesError: there is no such share or folder, or a path of the list can't be read.
            NotFoundError: there is no such host.
            RefusedError: its settings don't allow it.
        """

    @abstractmethod
    def download(
        self,
        where: str | Iterable[str],
        *,
        to: str | os.PathLike[str] = ".",
        connections: int = CONNECTIONS,
        matching: str | None = None,
        progress: bool = False,
    ) -> Any:
        """Fetch files into a folder here.

        What is there already, of the same size and time, is skipped; what was begun goes on where it stopped. A file
        gets its place when it is complete and checked. Files of a glob or a list keep their path within the share;
        a file, or a folder, its name.

        Args:
            where: a path, a glob, or a list of paths of one share.
            to: the folder; it is made, if it is not there.
            connections: how many work on it at a time; the other side serves 5 of one program, unless its settings
                say otherwise; more wait.
            matching: see :meth:`list`.
            progress: show on the terminal how far it is.

        Returns:
            A :class:`Transfer`: how many files and bytes have come, and how many were there.

        Raises:
            FilesError: some did not arrive; ``failed`` says why, by their paths, and the others are there. Or there is
                no such share or folder.
        """

    @abstractmethod
    def upload(
        self,
        what: Paths,
        *,
        to: str,
        connections: int = CONNECTIONS,
        matching: str | None = None,
        progress: bool = False,
    ) -> Any:
        """Send files of this computer to a folder of a share; otherwise as :meth:`download`.

        Args:
            what: a file, a folder, what is in one (``results/``), a glob, or a list of these. Links that lead out of
                the folder fail, as does what can't be read.
            to: the folder, ``inbox:run-17``; it is made, if it is not there.
        """

    @abstractmethod
    def disk_usage(self, where: str) -> Any:
        """What a folder of a share takes, as :class:`DiskUsage`."""

    @abstractmethod
    def checksum(self, where: str) -> Any:
        """The digest of a file there, as :func:`labc.file_checksum` tells it of one here: 32 hexadecimal digits."""

    @abstractmethod
    def delete(self, where: str | Iterable[str] | Mapping[str, str]) -> Any:
        """Delete files; folders stay.

        Args:
            where: the path of a file, or several; of a mapping, each only if its checksum is this one.

        Returns:
            How many were deleted.

        Raises:
            FilesError: some were not; ``failed`` says why.
        """


class FileWork:
    """What the verbs do, as coroutines for the node's loop, with these options."""

    def __init__(self, options: Options) -> None:
        self._options = options

    async def shares(self, rooms: Runtime) -> builtins.list[ShareInfo]:
        return [
            ShareInfo(name, read, write, outcome.host, outcome.node)
            for outcome, answer in await self._answers(rooms)
            for name, read, write, _ in answer.shares
        ]

    async def list(self, rooms: Runtime, where: Any, matching: str | None) -> builtins.list[FileInfo]:
        from labc.files import unpacked_entries, unpacked_path

        chosen = _chosen(where, matching)
        rows = await self._streamed(rooms, "core.files.list", chosen.share, *chosen.question)
        failed, found = {}, []
        how, what = chosen.question
        asked = {unpacked_path(path) for path in what} if how == "paths" else set()
        for entry in unpacked_entries(row for some in rows for row in some):
            if len(entry) == 2:
                if entry.path in asked:  # what can't be read otherwise is not shown
                    failed[entry.path] = entry[1]
            elif chosen.wanted(entry.path):
                path, size, modified, executable = entry
                found.append(FileInfo(f"{chosen.share}:{path}", size, modified / 1e9, executable))
        if failed:
            raise FilesError("; ".join(failed.values()), failed)
        return found

    async def download(
        self, rooms: Runtime, where: Any, to: Any, connections: int, matching: str | None, progress: bool
    ) -> Summary:
        from labc.files import Download, Folder

        chosen = _chosen(where, matching)
        _check_connections("download", connections)
        remote = await self._remote(rooms, chosen.share)
        folder = os.fspath(to)
        await asyncio.to_thread(os.makedirs, folder, exist_ok=True)
        how, what = chosen.question
        order = Download(remote, chosen.share, how, what, Folder(folder), chosen.target_of, connections, chosen.wanted)
        return _checked(await _run(order, f"from {chosen.share}:", progress))

    async def upload(
        self, rooms: Runtime, what: Any, to: str, connections: int, matching: str | None, progress: bool
    ) -> Summary:
        from labc.files import Upload, by_regex, place, sources

        goal = place(to)
        _check_connections("upload", connections)
        wanted = by_regex(matching).takes if matching is not None else lambda path: True
        paths = [what] if isinstance(what, str | os.PathLike) else builtins.list(what)
        remote = await self._remote(rooms, goal.share)
        total: Summary | None = None
        for source in await asyncio.to_thread(sources, paths):
            order = Upload(remote, goal.share, goal.path, source, connections, wanted)
            summary = await _run(order, f"to {goal}", progress)
            total = summary if total is None else total.plus(summary)
            if total.stopped:
                break
        if total is None:
            raise FilesError("upload() was given nothing to send")
        return _checked(total)

    async def disk_usage(self, rooms: Runtime, where: str) -> DiskUsage:
        from labc.files import place

        goal = place(where)
        remote = await self._remote(rooms, goal.share)
        with remote.asked():
            return DiskUsage(*await rooms.call("core.files.usage", (goal.share, goal.path), {}, remote.options))

    async def checksum(self, rooms: Runtime, where: str) -> str:
        from labc.files import packed_path, place

        goal = place(where)
        path = packed_path(goal.path)
        rows = await self._streamed(rooms, "core.files.checksums", goal.share, "paths", [path])
        if [told for told, *_ in rows] != [path]:
            raise FilesError(f"{where!r} is a folder: a checksum is of a file")
        _, digest, problem = rows[0]
        if digest is None:
            raise FilesError(str(problem))
        return bytes(digest).hex()

    async def delete(self, rooms: Runtime, where: Any) -> int:
        from labc.files import packed_path, place, unpacked_path

        digests = dict(where) if isinstance(where, Mapping) else {}
        places = [place(path) for path in ([where] if isinstance(where, str) else where)]
        share = _one_share(places)
        expected = [bytes.fromhex(digests[path]) if digests else None for path in (digests or places)]
        rows = [[packed_path(goal.path), digest] for goal, digest in zip(places, expected, strict=True)]
        told = await self._streamed(rooms, "core.files.delete", share, Outgoing(rows))
        failed = {unpacked_path(path): problem for path, problem in told if problem}
        if failed:
            raise FilesError(_told(failed, f"{len(failed)} of {len(rows)} files were not deleted"), failed)
        return len(told)

    # Within.

    async def _answers(self, rooms: Runtime) -> builtins.list[tuple[Outcome, _Answer]]:
        """What the nodes tell of their shares. Raises NotFoundError: nobody is where these options look."""
        try:
            outcomes = await rooms.call_all(_SHARES, (), {}, self._options)
        except NotFoundError:
            if not await rooms.nodes(self._options):
                raise NotFoundError(str(self._options.node or self._options.host or "labc"), kind="node") from None
            return []
        return [(outcome, answer) for outcome in outcomes if (answer := _shares_of(outcome)) is not None]

    async def _remote(self, rooms: Runtime, share: str) -> _Remote:
        """The node that has this share. Raises FilesError, NotFoundError."""
        told = await self._answers(rooms)
        having = [
            (outcome, answer.node_id, folder)
            for outcome, answer in told
            for name, _, _, folder in answer.shares
            if name == share
        ]
        where = f" on {self._options.host!r}" if self._options.host else ""
        if not having:
            names = sorted({name for _, answer in told for name, *_ in answer.shares})
            others = f"there are: {', '.join(names)}" if names else "there are none that this program may use"
            raise FilesError(
                f"there is no share {share!r}{where}: {others}. (Its setting is `shares`; on a network without a key, "
                "other computers need open = true there.)"
            )
        hosts = sorted({outcome.host for outcome, *_ in having})
        if len(hosts) > 1:
            raise FilesError(f"several hosts have a share {share!r}, {' and '.join(hosts)}: say get_host(...)")
        if len({folder for *_, folder in having}) > 1:
            nodes = " and ".join(sorted(outcome.node for outcome, *_ in having))
            raise FilesError(f"programs have different folders as the share {share!r}, {nodes}: say at(node=...)")
        outcome, node_id, _ = having[0]
        options = replace(self._options, host=None, node=node_id)
        return _Remote(rooms, options, f"{outcome.node} on {outcome.host}")

    async def _streamed(self, rooms: Runtime, name: str, share: str, *args: Any) -> builtins.list[Any]:
        remote = await self._remote(rooms, share)
        wish = StreamWish(name, (share, *args), {}, remote.options, False)
        with remote.asked():
            async with Stream(lambda operation: operation(rooms), wish) as values:
                return [value async for value in values]


class _Answer(msgspec.Struct):
    """Of one node."""

    node_id: str
    shares: builtins.list[tuple[str, bool, bool, str]]
    """Name, whether it may be read and written, and what differs for another folder of that computer."""


def _shares_of(outcome: Outcome) -> _Answer | None:
    """None: it is none that makes sense, or an error."""
    try:
        answer = msgspec.convert(outcome.value, _Answer) if outcome.ok else None
    except (TypeError, ValueError):
        return None
    return answer if answer is not None and all(is_share_name(name) for name, *_ in answer.shares) else None


class _Chosen(NamedTuple):
    """Files of one share."""

    share: str
    question: tuple[Any, Any]
    """As the other end is asked: how, and what."""
    target_of: Callable[[str], str]
    wanted: Callable[[str], bool]


def _chosen(where: str | Iterable[str], matching: str | None) -> _Chosen:
    """Raises FilesError."""
    from labc.files import by_regex, is_pattern, packed_path, place, without_nested

    wanted = by_regex(matching).takes if matching is not None else lambda path: True
    if not isinstance(where, str):
        places = [place(path) for path in where]
        paths = without_nested([goal.path for goal in places])
        return _Chosen(_one_share(places), ("paths", builtins.list(map(packed_path, paths))), lambda path: path, wanted)
    goal = place(where)
    if is_pattern(goal.path):
        return _Chosen(goal.share, ("glob", goal.path), lambda path: path, wanted)
    above = f"{goal.path}/" if goal.inside and goal.path else goal.path[: goal.path.rfind("/") + 1]
    question = ("glob", goal.path)
    return _Chosen(goal.share, question, lambda path: path.removeprefix(above) if above else path, wanted)


def _one_share(places: Sequence[Place]) -> str:
    """Raises FilesError."""
    shares = sorted({goal.share for goal in places})
    if len(shares) != 1:
        raise FilesError(f"expected paths of one share, and not of {' and '.join(shares) or 'none'}")
    return shares[0]


def _check_connections(verb: str, connections: int) -> None:
    if isinstance(connections, bool) or not isinstance(connections, int) or not 1 <= connections <= 64:
        raise ValueError(f"{verb}(connections={connections!r}): expected a whole number from 1 to 64")


def _checked(summary: Summary) -> Summary:
    """Raises FilesError: it is not all there."""
    if summary.failed or summary.stopped:
        count = len(summary.failed)
        text = f"{count} file{'s' * (count != 1)} did not arrive" if count else "not all files arrived"
        if summary.stopped:
            text += f" ({summary.stopped})"
        raise FilesError(_told(summary.failed, text), summary.failed, summary)
    return summary


def _told(failed: Mapping[str, str], text: str) -> str:
    first = builtins.list(failed.values())[:3]
    more = f"; and {len(failed) - len(first)} more" if len(failed) > len(first) else ""
    return f"{text}: {'; '.join(first)}{more}" if first else text


async def _run(order: Order, title: str, progress: bool) -> Summary:
    """Cancelled, it stops, and what was begun is kept for the next time."""
    bar = None
    if progress:
        from labc.progress import FilesBar  # what it draws with is slow to load

        bar = FilesBar(title, order.status)
        await asyncio.to_thread(bar.start)
    running = asyncio.wrap_future(_begun(order))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        order.stop("it was interrupted")
        await asyncio.wait([running])
        running.exception()
        raise
    finally:
        if bar is not None:
            bar.stop()


def _begun(order: Order) -> Future[Summary]:
    """In a thread of its own: those that asyncio has are few, and it can take hours."""
    told: Future[Summary] = Future()

    def run() -> None:
        try:
            told.set_result(order.run())
        except BaseException as error:
            told.set_exception(error)

    threading.Thread(target=run, name="labc files order", daemon=True).start()
    return told


class _Remote:
    """A node, as an order of files needs it: for threads."""

    def __init__(self, rooms: Runtime, options: Options, where: str) -> None:
        self.options = options
        self._rooms = rooms
        self._where = where

    def stream(self, name: str, *args: Any) -> _Stream:
        """Raises what ``stream`` does, and PeerLostError: it is gone."""
        with self.asked():
            return _Stream(self._rooms, StreamWish(name, args, {}, self.options, False))

    @contextmanager
    def asked(self) -> Iterator[None]:
        """It has just told of its share: if it can't be found now, it went away."""
        try:
            yield
        except NotFoundError:
            raise PeerLostError(self._where, "it is not in the network any more", ran="no") from None

    def outgoing(self, values: Iterable[Any]) -> Outgoing:
        return Outgoing(values)


class _Stream:
    """What a generator there gives, for one thread that reads."""

    def __init__(self, rooms: Runtime, wish: StreamWish) -> None:
        self._inbox: Any = None
        opening = asyncio.run_coroutine_threadsafe(wish.open(rooms, self._keep), rooms.loop)
        try:
            opening.result()
        except CancelledError:
            raise ClosedError("this program has left the network") from None

    def _keep(self, inbox: Any) -> None:
        self._inbox = inbox

    def __iter__(self) -> Iterator[Any]:
        try:
            while True:
                yield from self._inbox.take()
        except EndOfStream:
            return

    def close(self) -> None:
        """From any thread."""
        if self._inbox is not None:
            self._inbox.close()


class AsyncFiles(Files):
    """The verbs as coroutines."""

    def __init__(self, do: Callable[[Operation], Awaitable[Any]], options: Options) -> None:
        self._do = do
        self._work = FileWork(options)

    async def shares(self) -> builtins.list[ShareInfo]:
        return await self._do(self._work.shares)  # type: ignore[no-any-return]

    async def list(self, where: str | Iterable[str], *, matching: str | None = None) -> builtins.list[FileInfo]:
        return await self._do(lambda rooms: self._work.list(rooms, where, matching))  # type: ignore[no-any-return]

    async def download(
        self,
        where: str | Iterable[str],
        *,
        to: str | os.PathLike[str] = ".",
        connections: int = CONNECTIONS,
        matching: str | None = None,
        progress: bool = False,
    ) -> Summary:
        work = self._work
        return await self._do(  # type: ignore[no-any-return]
            lambda rooms: work.download(rooms, where, to, connections, matching, progress)
        )

    async def upload(
        self,
        what: Paths,
        *,
        to: str,
        connections: int = CONNECTIONS,
        matching: str | None = None,
        progress: bool = False,
    ) -> Summary:
        work = self._work
        return await self._do(  # type: ignore[no-any-return]
            lambda rooms: work.upload(rooms, what, to, connections, matching, progress)
        )

    async def disk_usage(self, where: str) -> DiskUsage:
        return await self._do(lambda rooms: self._work.disk_usage(rooms, where))  # type: ignore[no-any-return]

    async def checksum(self, where: str) -> str:
        return await self._do(lambda rooms: self._work.checksum(rooms, where))  # type: ignore[no-any-return]

    async def delete(self, where: str | Iterable[str] | Mapping[str, str]) -> int:
        return await self._do(lambda rooms: self._work.delete(rooms, where))  # type: ignore[no-any-return]
