"""Read the files of a bundle from its folder or its zip, trusting neither.

Names stay inside, sizes have a limit, and nothing is extracted to disk.
"""

import hashlib
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, final

from nas.bundle.fields import broken
from nas.errors import BundleError

__all__ = [
    "MAX_BYTES",
    "MAX_FILES",
    "MAX_INDEX_BYTES",
    "Files",
    "hash_file",
    "open_files",
    "read_file",
    "stays_inside",
]

MAX_BYTES = 2**28  # of one file, and of all members of a zip together; networks for a device are far smaller
MAX_INDEX_BYTES = 2**24  # of bundle.json; parsed it takes some ten times as much
MAX_FILES = 4096
_MAX_RATIO = 300  # of a member to what it is packed into; JSON packs to a tenth, weights to nine tenths
_PIECE = 2**20

# What `zipfile` raises for archives that are none, RuntimeError for an encrypted member among it.
_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    IndexError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def stays_inside(name: str) -> bool:
    """Whether a name is relative, written with `/`, and cannot leave the folder that it is read from."""
    return name.isprintable() and not set(name) & set("\\:") and not {"", ".", ".."} & set(name.split("/"))


class Files(ABC):
    """The files of a bundle, open for reading; what cannot be read is a `BundleError`."""

    @abstractmethod
    def names(self) -> frozenset[str]:
        """The names of all files, links and the like included."""

    @abstractmethod
    def size(self, name: str) -> int:
        """The bytes of a file, as far as that is told before it is read."""

    @abstractmethod
    def pieces(self, name: str, size: int) -> Iterator[bytes]:
        """The first `size` bytes of a file, piece by piece."""


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """The files of the bundle at `path`: a folder, or a zip of the files or of one folder with them."""
    if path.is_dir():
        yield _Folder(path)
        return
    with _explained("a bundle"):
        archive = zipfile.ZipFile(path)
    with archive:
        yield _Zip(archive)


def read_file(files: Files, name: str, limit: int = MAX_BYTES) -> bytes:
    """The contents of a file of at most so many bytes."""
    with _explained(name):
        size = files.size(name)
        _check_size(name, size, limit)
        data = bytearray()
        for piece in files.pieces(name, size):
            data += piece
    return bytes(data)


def hash_file(files: Files, name: str) -> str:
    """The sha256 of a file, which is never in memory as a whole."""
    digest = hashlib.sha256()
    with _explained(name):
        size = files.size(name)
        _check_size(name, size, MAX_BYTES)
        for piece in files.pieces(name, size):
            digest.update(piece)
    return digest.hexdigest()


@final
class _Folder(Files):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> frozenset[str]:
        with _explained("a bundle"):
            found = (file for file in self._folder.rglob("*") if file.is_symlink() or not file.is_dir())
            return frozenset(file.relative_to(self._folder).as_posix() for file in found)

    def size(self, name: str) -> int:
        file = self._folder / name
        if not file.resolve().is_relative_to(self._folder.resolve()):
            raise broken(name, f"stay inside the bundle, but links to {file.resolve()}")
        size = file.stat().st_size
        if not file.is_file():
            raise broken(name, "be a file, but is something else")
        return size

    def pieces(self, name: str, size: int) -> Iterator[bytes]:
        with (self._folder / name).open("rb") as file:
            yield from _pieces(file, size)


@final
class _Zip(Files):
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        with _explained("a bundle"):
            self._members = _members(archive)

    def names(self) -> frozenset[str]:
        return frozenset(self._members)

    def size(self, name: str) -> int:
        member = self._members.get(name)
        if member is None:
            raise broken(name, "be in the zip, but is not")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise broken(name, "be stored or deflated in the zip, but is packed in another way")
        return member.file_size

    def pieces(self, name: str, size: int) -> Iterator[bytes]:
        with self._archive.open(self._members[name]) as file:
            yield from _pieces(file, size)  # bounded, for the size in a zip's header may be a lie


def _pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    while piece := file.read(min(size, _PIECE)):
        size -= len(piece)
        yield piece


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of a zip by their names in the bundle, without the one folder that may hold them."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MAX_FILES:
        raise broken("the zip", f"have at most {MAX_FILES} files, but has {len(members)}")
    names = [member.filename for member in members]
    if bad := [name for name in names if not stays_inside(name)]:
        raise broken("a member of the zip", f"stay inside the bundle, but got {bad[0]!r}")
    if len(set(names)) < len(names):
        raise broken("members of the zip", "have different names, but two have the same")
    _check_size("the zip", sum(member.file_size for member in members), MAX_BYTES)
    for member in members:
        if member.file_size > _PIECE + _MAX_RATIO * member.compress_size:
            raise broken(member.filename, f"unpack to {_MAX_RATIO} times its size at most, but gets larger")
    tops = {name.partition("/")[0] for name in names}
    if len(tops) == 1 and all("/" in name for name in names):
        names = [name.partition("/")[2] for name in names]
    return dict(zip(names, members, strict=True))


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise broken(name, f"have at most {limit} bytes, but has {size}")


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Whatever goes wrong with a file is a `BundleError`."""
    try:
        yield
    except BundleError:
        raise
    except _UNREADABLE as error:
        raise broken(name, f"be readable, but is not: {error}") from error
