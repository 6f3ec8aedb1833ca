"""Gets onnxruntime-web, the runtime of the measuring page, once from the npm registry."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
import urllib.request
from http.client import HTTPException
from pathlib import Path

from nas.errors import TargetError
from nas.files import whole_file

__all__ = ["FILES", "VERSION", "find_folder", "install"]

VERSION = "1.30.0"
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""What a page needs for WebAssembly alone; the package has as much again for each other backend."""

_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
_MOST_BYTES = 64 * 2**20  # twice the package
_PATIENCE_S = 60.0


def find_folder() -> Path:
    """A folder with the files: that of NAS_ORT_WEB, else one in the user's cache, filled where it is not.

    `TargetError` where files are missing and cannot be fetched.
    """
    given = os.environ.get("NAS_ORT_WEB")
    if given:
        folder = Path(given).expanduser()
        if missing := _missing(folder):
            raise TargetError(
                f"NAS_ORT_WEB must name a folder with {', '.join(FILES)}, but {folder} has no {missing[0]}; "
                "name the folder dist of onnxruntime-web"
            )
        return folder
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "nas-dial" / f"onnxruntime-web-{VERSION}"
    if _missing(folder):
        install(folder)
    return folder


def install(folder: Path, sha512: str = _SHA512) -> None:
    """Fetch the package and put its files into the folder; `TargetError` where it is not the expected one."""
    environ = os.environ
    registry = environ.get("NAS_NPM_REGISTRY") or environ.get("npm_config_registry")
    url = f"{(registry or 'https://registry.npmjs.org').rstrip('/')}/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE_S) as answer:
            content = answer.read(_MOST_BYTES)
        found = base64.b64encode(hashlib.sha512(content).digest()).decode()
        if found != sha512:
            raise ValueError(f"its sha512 is {found}")
        files = _unpack(content)
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            with whole_file(folder / name) as part:
                part.write_bytes(files[name])
    except (OSError, HTTPException, ValueError, tarfile.TarError) as error:
        raise TargetError(
            f"onnxruntime-web {VERSION} must come from {url} once, but did not: {error}; connect to it, set "
            "NAS_NPM_REGISTRY to another npm registry, or NAS_ORT_WEB to a folder with its files"
        ) from error


def _unpack(content: bytes) -> dict[str, bytes]:
    """The files wanted, read by name: nothing that the archive says of paths or links has an effect."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            name = member.name.removeprefix("package/dist/")
            stream = archive.extractfile(member) if member.isreg() and name in FILES else None
            if stream is not None:
                files[name] = stream.read()
    if missing := set(FILES) - set(files):
        raise ValueError(f"it has no {', '.join(sorted(missing))}")
    return files


def _missing(folder: Path) -> list[str]:
    return [name for name in FILES if not (folder / name).is_file()]
