"""The folder of a share, opened so that nothing outside it can be reached.

Each name of a path is opened by itself, in the folder before it, and never through a link: so it does not matter who
changes the folders meanwhile. A link within the share is followed first, by its text, and what it leads to opened in
the same way; one that leads out is refused. Where the system can't open in a folder (Windows), the path is resolved,
looked at, and opened: who can change the folders at that very moment could lead it out.
"""

from __future__ import annotations

import errno
import heapq
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple, Self

from labc.errors import FilesError
from labc.files import rawio
from labc.files.paths import UNFINISHED, checked, shown
from labc.files.patterns import Selection, by_glob
from labc.files.pieces import Entry, Missing

_WINDOWS = os.name == "nt"
_BY_FOLDER = not _WINDOWS and os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_BY_DESCRIPTOR = {os.chmod, os.utime} <= os.supports_fd
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
"""Not to wait for the other end of a pipe: that is refused when it is open."""
_LINKS = 16
_AT_A_TIME = 1 << 15
"""Names of a folder that are held in memory. One with more is looked through again for each so many of them."""
_OF_THIS_PROGRAM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What says nothing of the file that was to be opened."""


class Spot:
    """A file's place in its folder, and others beside it, whether they are there or not."""

    def __init__(self, folder: int | str, name: str) -> None:
        self._folder = folder
        self.name = name

    def beside(self, name: str) -> Spot:
        """Another place in the same folder, while this one is open."""
        return Spot(self._folder, name)

    def open(self, name: str, flags: int) -> int:
        """A descriptor; a link is not followed."""
        flags |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        return os.open(self._at(name), flags, 0o666, dir_fd=self._descriptor)

    def stat(self, name: str) -> os.stat_result:
        """Of the file itself, or of the link that it is."""
        return os.stat(self._at(name), dir_fd=self._descriptor, follow_symlinks=False)

    def open_alone(self, name: str) -> int | None:
        """A descriptor for reading and writing, of a file that is made if it is not there; None: it is open like this
        elsewhere."""
        while True:
            with ExitStack() as closing:
                descriptor = self.open(name, os.O_RDWR | os.O_CREAT)
                closing.callback(os.close, descriptor)
                if not rawio.lock(descriptor):
                    return None
                with suppress(FileNotFoundError):  # or it was just put into its place elsewhere
                    if os.path.samestat(os.fstat(descriptor), self.stat(name)):
                        closing.pop_all()
                        return descriptor

    def describe(self, name: str, file: int, *, modified: int, executable: bool) -> None:
        """Give a file that is open its time, and let those execute it who may read it, or nobody."""
        at = file if _BY_DESCRIPTOR else self._at(name)
        above = None if _BY_DESCRIPTOR else self._descriptor
        mode = stat.S_IMODE(os.fstat(file).st_mode)
        with_executing = mode | (mode & 0o444) >> 2 if executable else mode & ~0o111
        if with_executing != mode:
            with suppress(OSError):  # not every file system has it
                os.chmod(at, with_executing, dir_fd=above)
        os.utime(at, ns=(modified, modified), dir_fd=above)

    def replace(self, name: str) -> None:
        """Have the file of that name take this place, all at once."""
        descriptor = self._descriptor
        os.replace(self._at(name), self._at(self.name), src_dir_fd=descriptor, dst_dir_fd=descriptor)

    def remove(self, name: str) -> None:
        os.unlink(self._at(name), dir_fd=self._descriptor)

    def make_folder(self) -> None:
        os.mkdir(self._at(self.name), dir_fd=self._descriptor)

    def sync(self) -> None:
        """Returns when the names in the folder are on the disk, where the system can tell."""
        if isinstance(self._folder, int):
            with suppress(OSError):
                os.fsync(self._folder)

    @property
    def _descriptor(self) -> int | None:
        return self._folder if isinstance(self._folder, int) else None

    def _at(self, name: str) -> str:
        return name if isinstance(self._folder, int) else os.path.join(self._folder, name)


class Folder:
    """The folder of a share."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.path.realpath(root)
        self._inside = self._root.rstrip(os.sep) + os.sep

    def open_file(self, path: str) -> int:
        """A descriptor for reading; the caller closes it.

        Raises:
            FilesError: it leads out, or is no plain file.
            OSError: it is not there, or can't be read.
        """
        descriptor = self._opened(checked(path, windows=_WINDOWS), path)
        return _plain(descriptor, path)

    def entry(self, path: str) -> Entry:
        """Raises what :meth:`open_file` does."""
        return _entry(self.open_file(path), path)

    def near(self) -> Near:
        """To look at many files, of which several lie in the same folder."""
        return Near(self)

    def entries(self, wanted: Selection, below: str = "") -> Iterator[Entry | Missing]:
        """Those files that are wanted, and empty folders, and what can't be read, in the order of their paths: name by
        name. ``below``: only in that folder.

        What goes away meanwhile is left out. Neither how many there are nor how deep they lie makes a difference to
        the memory and the descriptors that it takes.

        Raises:
            FilesError: ``below`` leads out of the share.
            OSError: it, or the share's own folder, is not there, or can't be read.
        """
        try:
            with self._folder(checked(below, windows=_WINDOWS), below) as found:
                os.scandir(found).close()
        except NotADirectoryError:
            entry = self.entry(below)
            if wanted.takes(below):
                yield entry
            return
        with self.near() as near:
            levels = [self._level(below, wanted, near)]
            while levels:
                step = next(levels[-1], None)
                if step is None:
                    levels.pop()
                elif isinstance(step, str):
                    levels.append(self._level(step, wanted, near))
                else:
                    yield step

    @contextmanager
    def spot(self, path: str, *, create: bool = False) -> Iterator[Spot]:
        """The folder in which a file is, or is to be. ``create``: make what is missing of it.

        Raises:
            FilesError: it leads out, or is no file's path.
            OSError: the folder is not there, or can't be made.
        """
        names = checked(path, windows=_WINDOWS)
        if not names:
            raise FilesError(f"{shown(path)} is no path of a file")
        if create:
            self._make(names[:-1], path)
        with self._folder(names[:-1], path) as folder:
            yield Spot(folder, names[-1])

    def usage(self, below: str = "") -> tuple[int, int]:
        """How many files that can be read there are below a folder, and their bytes."""
        files = size = 0
        for entry in self.entries(_ALL, below):
            if isinstance(entry, Entry):
                files += not entry.is_folder
                size += entry.size
        return files, size

    def make(self, path: str) -> None:
        """A folder, with those above it; harmless if it is there.

        Raises:
            FilesError: it leads out.
            OSError: it can't be made.
        """
        self._make(checked(path, windows=_WINDOWS), path)
        with self._folder(checked(path, windows=_WINDOWS), path):
            pass  # it is one, and no file

    def free(self) -> int:
        """Bytes on its disk that can be written."""
        return shutil.disk_usage(self._root).free

    def delete(self, path: str) -> None:
        """A file, or the link that is in its place.

        Raises:
            FilesError: it leads out, or is no file.
            OSError: it is not there, or can't be deleted.
        """
        with self.spot(path) as spot:
            mode = spot.stat(spot.name).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                raise FilesError(f"{shown(path)} is no plain file")
            spot.remove(spot.name)
            spot.sync()

    # Within.

    def _make(self, names: tuple[str, ...], path: str) -> None:
        """The folders that are missing."""
        for depth in range(1, len(names) + 1):
            with self._folder(names[: depth - 1], path) as above, suppress(FileExistsError):
                Spot(above, names[depth - 1]).make_folder()

    def _level(self, above: str, wanted: Selection, near: Near) -> Iterator[Entry | Missing | str]:
        """What is in a folder, in the order of the names; a text is the path of a folder that is to be looked into."""
        after, is_empty = "", True
        try:
            while True:
                with self._folder(checked(above, windows=_WINDOWS), above) as folder:
                    children = _children(folder, after)
                for child in children:
                    path = f"{above}/{child.name}" if above else child.name
                    if child.is_folder:
                        if wanted.may_be_below(path):
                            yield path
                    elif child.is_file and wanted.takes(path) and (found := _seen(path, near)) is not None:
                        yield found
                is_empty = is_empty and not children
                if len(children) < _AT_A_TIME:
                    break
                after = children[-1].name
            if is_empty and above and wanted.takes(above):
                yield Entry(f"{above}/", 0, 0, False)
        except (FileNotFoundError, NotADirectoryError):
            return  # gone meanwhile
        except (OSError, FilesError) as error:
            _check_not_of_this_program(error)
            yield Missing(f"{above}/", problem_of(error, above))

    @contextmanager
    def _folder(self, names: tuple[str, ...], path: str) -> Iterator[int | str]:
        if not _BY_FOLDER:
            yield self._resolved(names, path)
            return
        descriptor = self._opened(names, path, folder=True)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _opened(self, names: tuple[str, ...], path: str, *, folder: bool = False) -> int:
        if not _BY_FOLDER:
            full = self._resolved(names, path)
            _check_kind(os.stat(full), path)
            return os.open(full, _READ)
        for _ in range(_LINKS):
            descriptor = os.open(self._root, _READ | os.O_DIRECTORY)
            try:
                for place, name in enumerate(names):
                    is_last = place + 1 == len(names)
                    flags = _READ | os.O_NOFOLLOW | (0 if is_last and not folder else os.O_DIRECTORY)
                    above = descriptor
                    if is_last:
                        _check_kind(os.stat(name, dir_fd=above, follow_symlinks=False), path)
                    try:
                        descriptor = os.open(name, flags, dir_fd=above)
                    except OSError as error:
                        if not _is_link(error, name, above):
                            raise
                        names = self._beyond(names, place, above, path)
                        break
                    os.close(above)
                else:
                    opened, descriptor = descriptor, -1
                    return opened
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
        raise FilesError(f"{shown(path)} has too many links in it")

    def _beyond(self, names: tuple[str, ...], place: int, folder: int, path: str) -> tuple[str, ...]:
        """The names in the share that a link stands for, with those after it."""
        above = os.path.join(self._root, *names[:place])
        target = os.path.normpath(os.path.join(above, os.readlink(names[place], dir_fd=folder)))
        self._check_inside(target, path)
        within = target[len(self._inside) :]
        return (*(within.split(os.sep) if within else ()), *names[place + 1 :])

    def _resolved(self, names: tuple[str, ...], path: str) -> str:
        full = os.path.realpath(os.path.join(self._root, *names))
        self._check_inside(full, path)
        return full

    def _check_inside(self, full: str, path: str) -> None:
        if full != self._root and not os.path.normcase(full).startswith(os.path.normcase(self._inside)):
            raise FilesError(f"{shown(path)} is a link that leads out of its share")


class Near:
    """Files by their paths, one after the other; those in the same folder without going all the way to it each time.

    For one thread, and not for long: who moves the folder elsewhere meanwhile moves it for others.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._above = -1
        self._names: tuple[str, ...] = ()
        """Of the folder that is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def open_file(self, path: str) -> int:
        """As :meth:`Folder.open_file`."""
        names = checked(path, windows=_WINDOWS)
        if not (_BY_FOLDER and names):
            return self._folder.open_file(path)
        self._enter(names[:-1], path)
        try:
            _check_kind(os.stat(names[-1], dir_fd=self._above, follow_symlinks=False), path)
            descriptor = os.open(names[-1], _READ | os.O_NOFOLLOW, dir_fd=self._above)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and os.fstat(self._above).st_nlink:
                raise
            self._close()  # it is a link, or the folder is not the one of this path any more
            return self._folder.open_file(path)
        return _plain(descriptor, path)

    def entry(self, path: str) -> Entry:
        """Raises what :meth:`open_file` does."""
        return _entry(self.open_file(path), path)

    # Within.

    def _enter(self, names: tuple[str, ...], path: str) -> None:
        if self._above < 0 or names != self._names:
            self._close()
            self._above, self._names = self._folder._opened(names, path, folder=True), names

    def _close(self) -> None:
        above, self._above = self._above, -1
        if above >= 0:
            os.close(above)


def problem_of(error: Exception, path: str) -> str:
    """One sentence that names the file, and no folder of this computer."""
    if isinstance(error, OSError):
        return f"{shown(path)}: {(error.strerror or type(error).__name__).lower()}"
    return str(error)


def entry_of(path: str, about: os.stat_result) -> Entry:
    return Entry(path, about.st_size, about.st_mtime_ns, bool(about.st_mode & stat.S_IXUSR))


class _Child(NamedTuple):
    """What is in a folder."""

    name: str
    is_folder: bool
    is_file: bool
    """Or a link to anything."""


def _children(folder: int | str, after: str) -> list[_Child]:
    """The next ones, in the order of their names."""

    def child(entry: os.DirEntry[str]) -> _Child:
        is_file = entry.is_symlink() or entry.is_file(follow_symlinks=False)
        return _Child(entry.name, entry.is_dir(follow_symlinks=False), is_file)

    with os.scandir(folder) as found:
        those = (each for each in found if each.name > after and not each.name.startswith(UNFINISHED))
        return heapq.nsmallest(_AT_A_TIME, map(child, those))


def _seen(path: str, near: Near) -> Entry | Missing | None:
    """None: it is gone, or a link to nothing."""
    try:
        return near.entry(path)
    except FileNotFoundError:
        return None
    except (OSError, FilesError) as error:
        _check_not_of_this_program(error)
        return Missing(path, problem_of(error, path))


def _entry(descriptor: int, path: str) -> Entry:
    """It is closed then."""
    try:
        return entry_of(path, os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _plain(descriptor: int, path: str) -> int:
    """The same. Raises FilesError: it is no plain file; then it is closed."""
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise FilesError(f"{shown(path)} is a folder, or a link to one, and no plain file")
        if not stat.S_ISREG(mode):
            raise FilesError(f"{shown(path)} is no plain file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_not_of_this_program(error: Exception) -> None:
    """Raises what says nothing of the file."""
    if isinstance(error, OSError) and error.errno in _OF_THIS_PROGRAM:
        raise error


def _check_kind(about: os.stat_result, path: str) -> None:
    """Raises FilesError: it is a pipe, a device or the like, which notices that it is opened."""
    mode = about.st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
        raise FilesError(f"{shown(path)} is no plain file")


def _is_link(error: OSError, name: str, folder: int) -> bool:
    """Whether it was not opened as it is one. (Opened as a folder, a link is said to be none.)"""
    if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
        return False
    return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


_ALL = by_glob("")
