"""Read the files of a bundle from its folder or its zip, trusting neither.

Names stay inside, sizes have a limit, and nothing is extracted to disk.
"""

import zipfile
import zlib
from pathlib import Path

from nas.bundle.fields import broken

__all__ = ["MAX_BYTES", "list_files", "read_file", "stays_inside"]

MAX_BYTES = 2**30  # of one file, and of all members of a zip together; networks for a device are far smaller

# RuntimeError is what an encrypted member raises.
_UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def stays_inside(name: str) -> bool:
    """Whether a name is relative, written with `/`, and cannot leave the folder that it is read from."""
    return not set(name) & set("\\:\0") and not {"", ".", ".."} & set(name.split("/"))


def read_file(path: Path, name: str) -> bytes:
    """The bytes of one file of the bundle at `path`.

    A zip may hold the files themselves or one folder with them.
    """
    try:
        return _read_folder(path, name) if path.is_dir() else _read_zip(path, name)
    except _UNREADABLE as error:
        raise broken(name, f"be readable, but is not: {error}") from error


def list_files(path: Path) -> frozenset[str]:
    """The names of all files of the bundle at `path`, links and the like included."""
    try:
        if path.is_dir():
            found = (file for file in path.rglob("*") if file.is_symlink() or not file.is_dir())
            return frozenset(file.relative_to(path).as_posix() for file in found)
        with zipfile.ZipFile(path) as archive:
            return frozenset(_members(archive))
    except _UNREADABLE as error:
        raise broken("a bundle", f"be readable, but is not: {error}") from error


def _read_folder(folder: Path, name: str) -> bytes:
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise broken(name, f"stay inside the bundle, but links to {file.resolve()}")
    _check_size(name, file.stat().st_size)
    if not file.is_file():
        raise broken(name, "be a file, but is something else")
    return file.read_bytes()


def _read_zip(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        members = _members(archive)
        if name not in members:
            raise broken(name, "be in the zip, but is not")
        member = members[name]
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise broken(name, "be stored or deflated in the zip, but is packed in another way")
        with archive.open(member) as file:
            return file.read(member.file_size)  # bounded, for the size in a zip's header may be a lie


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of a zip by their names in the bundle, without the one folder that may hold them."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    names = [member.filename for member in members]
    if bad := [name for name in names if not stays_inside(name)]:
        raise broken("a member of the zip", f"stay inside the bundle, but got {bad[0]!r}")
    if len(set(names)) < len(names):
        raise broken("members of the zip", "have different names, but two have the same")
    _check_size("the zip", sum(member.file_size for member in members))
    tops = {name.partition("/")[0] for name in names}
    if len(tops) == 1 and all("/" in name for name in names):
        names = [name.partition("/")[2] for name in names]
    return dict(zip(names, members, strict=True))


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise broken(name, f"have at most {MAX_BYTES} bytes, but has {size}")
