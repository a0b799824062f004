"""Messages in, bytes to write out: small messages go at once, large ones take turns in chunks."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from typing import cast

from labc.wire.frames import (
    ABORT,
    HEADER,
    HEADER_BYTES,
    MAX_CHUNK,
    MAX_PARTIALS,
    MAX_SEGMENTS,
    MULTI,
    ORDERED,
    Data,
    Kind,
)

OPENING_BYTES = 4 << 10
"""What the first frame of a large message carries besides the table: a usual head, and little that has to be copied."""

JOIN_BYTES = 8 << 10
"""Pieces shorter than this are joined with their neighbours; longer ones are given out as they are."""

_pack_header = HEADER.pack
_CHUNK = int(Kind.CHUNK)

Key = tuple[int, int]


class Outgoing:
    """A message in several segments on its way out."""

    __slots__ = ("_segments", "begun", "channel", "fits_one_frame", "id", "kind", "remaining", "total", "unsent")

    def __init__(self, kind: int, id: int, channel: int, head: Data, buffers: Sequence[Data]) -> None:
        if len(buffers) >= MAX_SEGMENTS:
            raise ValueError(f"a message of {len(buffers) + 1} segments; at most {MAX_SEGMENTS} are allowed")
        self.kind = kind
        self.id = id
        self.channel = channel
        self._segments = deque(map(_flat, (head, *buffers)))
        self.total = self.remaining = sum(map(len, self._segments))
        self.unsent = self.total + HEADER_BYTES
        self.fits_one_frame = self.total + 2 + 8 * len(self._segments) <= MAX_CHUNK
        self.begun = False

    def next_frame(self) -> list[Data]:
        """The pieces of the next frame."""
        if self.begun:
            size = min(self.remaining, MAX_CHUNK)
            return [_pack_header(size, _CHUNK, 0, self.channel, self.id), *self._pull(size)]
        self.begun = True
        count = len(self._segments)
        size = self.remaining if self.fits_one_frame else min(self.remaining, OPENING_BYTES)
        table = struct.pack(f">H{count}Q", count, *map(len, self._segments))
        header = _pack_header(len(table) + size, self.kind, MULTI, self.channel, self.id)
        return [header + table, *self._pull(size)]

    def abort_frame(self) -> bytes:
        """What makes the receiver forget the part it has."""
        return _pack_header(0, _CHUNK, ABORT, self.channel, self.id)

    def _pull(self, size: int) -> list[memoryview]:
        """The next ``size`` bytes, as slices of the segments."""
        self.remaining -= size
        pieces = []
        while size:
            segment = self._segments.popleft()
            if len(segment) > size:
                self._segments.appendleft(segment[size:])
                segment = segment[:size]
            if segment:
                pieces.append(segment)
            size -= len(segment)
        return pieces


Entry = bytes | Outgoing


class Outbox:
    """The sending half of a lane.

    Messages that fit one frame leave in the order in which they were put, ahead of the chunks of larger ones;
    up to `MAX_PARTIALS` larger ones take turns, a chunk each. Order is always kept within one (id, channel),
    and nothing of an id overtakes what is unsent on its channel 0 (items must not arrive before their request).

    Buffers are not copied: they must not change until they are sent.
    """

    def __init__(self) -> None:
        self.pending_bytes = 0
        """What was put and not yet taken: payload, and a header for each message."""
        self._ready: deque[Entry] = deque()
        self._lines: dict[Key, deque[tuple[Key, Entry]]] = {}
        """For each (id, channel) with a large message unsent: what has to wait behind it."""
        self._waiting: deque[Outgoing] = deque()
        self._active: deque[Outgoing] = deque()
        self._active_bytes = 0
        self._limit = 0
        self._only_bytes = True

    @property
    def has_large(self) -> bool:
        """Whether a message of several frames is unsent."""
        return bool(self._lines)

    def put(self, kind: int, id: int, channel: int = 0, head: Data = b"", buffers: Sequence[Data] = ()) -> None:
        """Queue a message. Never blocks or refuses: look at `pending_bytes` before."""
        if not buffers and len(head) <= MAX_CHUNK:
            frame = _pack_header(len(head), kind, 0, channel, id) + head
            self.pending_bytes += len(frame)
            if self._lines and kind in ORDERED:
                self._enqueue((id, channel), frame)
            else:
                self._ready.append(frame)
            return
        outgoing = Outgoing(kind, id, channel, head, buffers)
        self.pending_bytes += outgoing.unsent
        self._enqueue((id, channel), outgoing)

    def put_raw(self, data: bytes) -> None:
        """Queue bytes that are no frame: the preface."""
        self._ready.append(data)
        self.pending_bytes += len(data)

    def take(self, max_bytes: int) -> list[Data]:
        """What to write next, about ``max_bytes`` (at most one frame more). Empty: nothing is pending.

        If a message of several frames is under way, each call gives at least one of its chunks,
        so that no flood of small messages can hold it up for ever.
        """
        ready = self._ready
        if self._only_bytes and self.pending_bytes <= max_bytes:
            return self._take_all()
        pieces: list[Data] = []
        size = 0
        while ready and size < max_bytes:
            size += self._take_ready(pieces)
        if self._active:
            size += self._take_chunk(pieces)
        while self._active and size < max_bytes and not ready:
            size += self._take_chunk(pieces)
        if not (self._lines or ready):
            self._only_bytes = True
        return _joined(pieces)

    def discard(self, id: int) -> set[int]:
        """Drop what is unsent of a conversation. Returns the kinds of the messages that will never arrive whole.

        Messages that fit one frame are as good as sent and stay, unless they wait behind a larger one.
        If the larger one was begun, the receiver is told to forget its part.
        """
        dropped, begun = self._drop(id)
        for outgoing in begun:
            frame = outgoing.abort_frame()
            self._ready.append(frame)
            self.pending_bytes += len(frame)
        self._admit()
        return dropped

    def open(self, max_message_bytes: int) -> set[int]:
        """The other side is known, and takes messages up to this size: large ones, held back until now, may go.

        Returns the ids of conversations that were discarded because a message of theirs is too large for it.
        """
        self._limit = max(max_message_bytes, MAX_CHUNK)
        lined = [entry for line in self._lines.values() for _, entry in line]
        entries = (entry for entry in (*self._ready, *self._waiting, *lined) if isinstance(entry, Outgoing))
        too_large = {entry.id for entry in entries if entry.total > self._limit}
        for id in too_large:
            self.discard(id)
        self._admit()
        return too_large

    def close(self) -> None:
        """Drop every message of several frames, so that what is put next can be the last."""
        for id in {key[0] for key in self._lines}:
            self._drop(id)

    def _enqueue(self, key: Key, entry: Entry) -> None:
        line = self._lines.get(key)
        if line is None:
            line = self._lines.get((key[0], 0))
        if line is not None:
            line.append((key, entry))
            return
        self._ready.append(entry)
        if isinstance(entry, Outgoing):
            self._only_bytes = False
            if not entry.fits_one_frame:
                self._lines[key] = deque()

    def _take_all(self) -> list[Data]:
        ready = self._ready
        if not ready:
            return []
        self.pending_bytes = 0
        frames = cast("deque[bytes]", ready)
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        ready.clear()
        return [data]

    def _take_ready(self, pieces: list[Data]) -> int:
        """Take the first small message. A larger one is moved to where they take turns. Returns the bytes taken."""
        entry = self._ready.popleft()
        if isinstance(entry, bytes):
            pieces.append(entry)
            self.pending_bytes -= len(entry)
            return len(entry)
        if not entry.fits_one_frame:
            self._waiting.append(entry)
            self._admit()
            return 0
        pieces += entry.next_frame()
        self.pending_bytes -= entry.unsent
        return entry.unsent

    def _take_chunk(self, pieces: list[Data]) -> int:
        outgoing = self._active.popleft()
        pieces += outgoing.next_frame()
        unsent = outgoing.remaining
        size = outgoing.unsent - unsent
        outgoing.unsent = unsent
        self.pending_bytes -= size
        if unsent:
            self._active.append(outgoing)
        else:
            self._active_bytes -= outgoing.total
            self._release((outgoing.id, outgoing.channel))
            self._admit()
        return size

    def _admit(self) -> None:
        """Let waiting messages take turns, as many as the receiver accepts at once."""
        waiting = self._waiting
        while waiting and len(self._active) < MAX_PARTIALS and self._active_bytes + waiting[0].total <= self._limit:
            outgoing = waiting.popleft()
            self._active_bytes += outgoing.total
            self._active.append(outgoing)

    def _release(self, key: Key) -> None:
        """The large message of ``key`` is sent: what waited behind it is next."""
        line = self._lines.pop(key)
        while line:
            self._enqueue(*line.popleft())
            if key in self._lines:
                self._lines[key] = line
                return

    def _drop(self, id: int) -> tuple[set[int], list[Outgoing]]:
        """Drop the large messages of a conversation and what waits behind them: their kinds, and those begun."""
        kinds: set[int] = set()
        begun: list[Outgoing] = []
        keys = [key for key in self._lines if key[0] == id]
        if not keys:
            return kinds, begun
        for key in keys:
            for _, entry in self._lines.pop(key):
                kinds.add(_kind(entry))
                self.pending_bytes -= _size(entry)
        for queue in (self._active, self._waiting, self._ready):
            for entry in [entry for entry in queue if _is_large(entry, id)]:
                assert isinstance(entry, Outgoing)
                queue.remove(entry)
                kinds.add(entry.kind)
                self.pending_bytes -= entry.unsent
                if queue is self._active:
                    self._active_bytes -= entry.total
                if entry.begun:
                    begun.append(entry)
        return kinds, begun


def _is_large(entry: Entry, id: int) -> bool:
    return isinstance(entry, Outgoing) and entry.id == id and not entry.fits_one_frame


def _flat(data: Data) -> memoryview:
    """The bytes of a buffer of any shape."""
    view = memoryview(data)
    return view.cast("B") if view.nbytes else memoryview(b"")


def _kind(entry: Entry) -> int:
    return entry.kind if isinstance(entry, Outgoing) else int(HEADER.unpack_from(entry)[1])


def _size(entry: Entry) -> int:
    return entry.unsent if isinstance(entry, Outgoing) else len(entry)


def _joined(pieces: list[Data]) -> list[Data]:
    """The same bytes with runs of short pieces joined, for the sake of the system call that writes them."""
    if len(pieces) < 2:
        return pieces
    joined: list[Data] = []
    run: list[Data] = []
    for piece in pieces:
        if len(piece) < JOIN_BYTES:
            run.append(piece)
            continue
        if run:
            joined.append(b"".join(run))
            run = []
        joined.append(piece)
    if run:
        joined.append(b"".join(run))
    return joined
