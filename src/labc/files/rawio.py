"""Reading and writing at a place of a file, and having it alone, on every system."""

from __future__ import annotations

import errno
import os
import sys
import threading
from typing import Any

WINDOWS: bool = os.name == "nt"


def is_hole(file: int, length: int, offset: int) -> bool:
    """Whether nothing was ever written there, as far as the system tells, or the file ends before it. It moves the
    file's position."""
    if not hasattr(os, "SEEK_DATA"):
        return offset >= os.fstat(file).st_size
    try:
        return os.lseek(file, offset, os.SEEK_DATA) >= offset + length
    except OSError as error:
        return error.errno == errno.ENXIO  # nor behind it


def begin_sync(file: int) -> None:
    """Have the system begin to bring what was written to the disk, where it can be told to."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


if sys.platform == "win32":
    import msvcrt

    _seeking = threading.Lock()

    def write_at(file: int, data: Any, offset: int) -> None:
        """All of it. From any thread."""
        view = memoryview(data)
        with _seeking:
            os.lseek(file, offset, os.SEEK_SET)
            while view:
                view = view[os.write(file, view) :]

    def read_at(file: int, length: int, offset: int) -> bytes:
        """As much of it as there is. From any thread."""
        parts = []
        with _seeking:
            os.lseek(file, offset, os.SEEK_SET)
            while length and (data := os.read(file, length)):
                parts.append(data)
                length -= len(data)
        return b"".join(parts)

    def lock(file: int) -> bool:
        """Whether nobody else has it; until it is closed."""
        try:
            os.lseek(file, 1 << 62, os.SEEK_SET)  # far behind what is read and written
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def write_at(file: int, data: Any, offset: int) -> None:
        """All of it. From any thread."""
        view = memoryview(data)
        while view:
            written = os.pwrite(file, view, offset)
            view, offset = view[written:], offset + written

    def read_at(file: int, length: int, offset: int) -> bytes:
        """As much of it as there is. From any thread."""
        parts = []
        while length and (data := os.pread(file, length, offset)):
            parts.append(data)
            length, offset = length - len(data), offset + len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def lock(file: int) -> bool:
        """Whether nobody else has it; until it is closed."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # or this file system has no locks
            return error.errno not in (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK)
        return True
