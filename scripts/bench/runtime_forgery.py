"""How `runtime_fuzz` damages and forges: what lies in a bundle, its zip, its folder."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import onnx

from nas.bundle.archive import MAX_BYTES

INDEX = "bundle.json"
CENTRAL = b"PK\x01\x02"  # what the entry of a member in the directory of a zip begins with

Files = dict[str, bytes]


def entries(index: dict[str, Any]) -> list[dict[str, Any]]:
    """What an index says of each file of a network."""
    return [entry for model in index["models"].values() for entry in (*model["segments"], model["fused"])]


def _flipped(data: bytes, rng: Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _flip_file(files: Files, rng: Random) -> None:
    files |= {name: _flipped(files[name], rng) for name in rng.sample(sorted(files), 1)}


def _cut_file(files: Files, rng: Random) -> None:
    files |= {name: _cut(files[name], rng) for name in rng.sample(sorted(files), 1)}


def _swap_files(files: Files, rng: Random) -> None:
    one, other = rng.sample(sorted(files), 2)
    files[one], files[other] = files[other], files[one]


def _fill_with_garbage(files: Files, rng: Random) -> None:
    files[_onnx_name(files, rng)] = rng.randbytes(rng.choice((0, 1, 100, 100_000)))


def _onnx_name(files: Files, rng: Random) -> str:
    return rng.choice(sorted(name for name in files if name.endswith(".onnx")))


DEEP = "[deep]"  # becomes a list in a list in a list, deeper than any recursion
_NUMBERS = (1e308, 10**400, -(10**400), float("nan"), float("inf"), -1, -0.0, 0, 2**31, 2**63, 0.5, True)
_OTHERS = (None, "", [], {}, [[]], [None], {"": ""}, "x" * 5000, "a\nb", "\ud800", "\0", "../x", DEEP)


def _set_value(files: Files, rng: Random) -> None:
    index = json.loads(files[INDEX])
    places = dict[str, list[tuple[Any, Any]]]()
    for place, key, name in _places(index):
        places.setdefault(name, []).append((place, key))
    place, key = rng.choice(rng.choice([*places.values()]))  # what is there once is as likely as a hash
    place[key] = rng.choice(rng.choice((_NUMBERS, _OTHERS)))
    if rng.random() < 0.2 and isinstance(place, list):
        place *= rng.choice((0, 2, 3000))
    files[INDEX] = _dumped(index)


def _change_key(files: Files, rng: Random) -> None:
    index = json.loads(files[INDEX])
    place, key, _ = rng.choice([found for found in _places(index) if isinstance(found[0], dict)])
    value = place.pop(key)
    if rng.random() < 0.5:
        place[rng.choice(("", "new", key.upper(), "a\nb", "\ud800", "y" * 5000, "../x"))] = value
    files[INDEX] = _dumped(index)


def _set_version(files: Files, rng: Random) -> None:
    index = json.loads(files[INDEX])
    index[rng.choice(("version", "format"))] = rng.choice((0, 2, "1", 10**400, "v" * 5000, *_OTHERS))
    files[INDEX] = _dumped(index)


def _places(value: object, name: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Every place of a JSON value, as what holds it, the key there, and the last key that is a name."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        last = key if isinstance(key, str) else name
        yield value, key, last
        yield from _places(inner, last)


def _dumped(index: object) -> bytes:
    return json.dumps(index).replace(json.dumps(DEEP), "[" * 100_000 + "]" * 100_000).encode()


def _rename(files: Files, rng: Random) -> None:
    """Give a file a name that leaves the bundle, or that systems take for something else."""
    index, name = json.loads(files[INDEX]), rng.choice((*_OUTSIDE, *_STRANGE, *_ODD))
    digest = hashlib.sha256(bytes(2**20)).hexdigest()  # of what lies outside
    if rng.random() < 0.3:
        index["files"][name] = digest
    else:
        entry = rng.choice(entries(index))
        entry["file"], entry["sha256"] = name, rng.choice((digest, entry["sha256"]))
    files[INDEX] = _dumped(index)


# The program that opens bundles stands in the folder outside, and bundles lie in folders beside that.
_OUTSIDE = ("../outside/canary.bin", "canary.bin", "/proc/self/cwd/canary.bin", "/dev/zero")
_STRANGE = ("..\\outside\\canary.bin", "C:canary.bin", "CON", ".", "models", "a//b", "~/x", "x" * 5000)
_ODD = ("", "a\nb", "\ud800")  # which cannot be written to a zip


def _change_tensor(files: Files, rng: Random) -> None:
    """Let a network have other tensors than the index says."""
    name = _onnx_name(files, rng)
    model = onnx.load_from_string(files[name])
    interface = rng.choice((model.graph.input, model.graph.output))
    tensor = rng.choice(interface)
    change = rng.randrange(6)
    if change == 0:
        tensor.type.tensor_type.elem_type = rng.choice((1, 2, 3, 7, 8, 9, 10, 11))
    elif change == 1:
        tensor.type.tensor_type.shape.dim.add(dim_value=rng.choice((0, 1, 7, 2**31, 2**62)))
    elif change == 2:
        for size in tensor.type.tensor_type.shape.dim:
            size.dim_value = rng.choice((0, 1, 3, 9, 10, 2**31, 2**62))
    elif change == 3:
        tensor.name = rng.choice(("", "other", "x", "logits", "y" * 5000, "a\nb"))
    elif change == 4:
        interface.remove(tensor)
    else:
        _change_weights(model, rng)
    files[name] = model.SerializeToString()


def _change_weights(model: onnx.ModelProto, rng: Random) -> None:
    """Give a weight a shape that its data has not, or a node an operator that fits less."""
    if model.graph.initializer and rng.random() < 0.5:
        dims = rng.choice(model.graph.initializer).dims
        dims[:] = [rng.choice((0, -1, 3, 2**31, 2**62)) for _ in dims]
    else:
        rng.choice(model.graph.node).op_type = rng.choice(("Relu", "Transpose", "Shape", "Flatten", "None"))


def _lay_outside(files: Files, rng: Random) -> None:
    """Let a weight be read from a file outside, which holds zeros enough for it."""
    name = rng.choice([name for name in files if "head_" in name])  # which all have weights
    model = onnx.load_from_string(files[name])
    weight = max(model.graph.initializer, key=lambda found: len(found.raw_data))
    length = rng.choice((len(weight.raw_data), 0, 2**62, -1))
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", rng.choice(_OUTSIDE)), ("offset", 0), ("length", length)):
        weight.external_data.add(key=key, value=str(value))
    files[name] = model.SerializeToString()


def _replace(folder: Path, rng: Random) -> None:
    """Put a link, a pipe, a folder or nothing in the place of a file, or something beside the files."""
    file = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    kept, change = file.read_bytes(), rng.randrange(6)
    file.unlink()
    if change == 0:
        file.symlink_to(rng.choice((*_OUTSIDE, folder.parents[1] / "outside/canary.bin", file, folder)))
    elif change == 1:
        os.mkfifo(file)
    elif change == 2:
        file.mkdir()
    elif change == 3:
        file.symlink_to(folder.parents[1] / "outside")
    elif change == 4:
        with file.open("wb") as stream:
            stream.truncate(rng.choice((MAX_BYTES + 1, 400 * 2**20)))  # takes no place on the disk
    else:
        file.write_bytes(kept)
        file.with_name("more").symlink_to(folder.parents[1] / "outside")


def packed(files: Files, top: str = "") -> bytes:
    """The zip of some files, which may stand in one folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(top + name, content)
    return buffer.getvalue()


def _with_member(data: bytes, name: str, content: bytes) -> bytes:
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name may be there twice
        archive.writestr(name, content)
    return buffer.getvalue()


def _flip_directory(data: bytes, rng: Random) -> bytes:
    start = data.index(CENTRAL)
    return data[:start] + _flipped(data[start:], rng)


def _move(data: bytes, rng: Random) -> bytes:
    """Put bytes before, behind or into a zip, or take some out."""
    start, end = sorted(rng.randrange(len(data)) for _ in range(2))
    junk = rng.randbytes(rng.choice((1, 50, 70_000)))
    head, tail = data[:start], data[start:]
    return rng.choice((junk + data, data + junk, head + junk + tail, head + data[end:]))


def _forge_header(data: bytes, rng: Random) -> bytes:
    """Let the directory of a zip say something else of a member: flags, packing, time, sizes, place."""
    forged, starts = bytearray(data), [at for at in range(len(data)) if data.startswith(CENTRAL, at)]
    start = rng.choice(starts)
    for code, offset, values in rng.sample(_HEADER, rng.choice((1, 2))):
        struct.pack_into(code, forged, start + offset, rng.choice(values))
    return bytes(forged)


_HEADER = (
    ("<H", 6, (0, 63, 65535)),  # version needed
    ("<H", 8, (1, 8, 0x20, 0x41, 0x800, 0x2000, 65535)),  # flags: encrypted, patched, names in UTF-8
    ("<H", 10, (0, 1, 9, 12, 14, 93, 99, 65535)),  # packing
    ("<I", 16, (0,)),  # checksum
    ("<I", 20, (0, 1, 2**31, 2**32 - 1)),  # size when packed
    ("<I", 24, (0, 1, 10**5, MAX_BYTES - 10**7, 2**32 - 1)),  # size when unpacked
    ("<H", 28, (0, 1, 500, 65535)),  # length of the name
    ("<H", 30, (1, 4, 65535)),  # length of the extra field
    ("<I", 42, (0, 1, 2**31, 2**32 - 1)),  # place of the member
    ("<B", 46, (0, 10, 46, 47, 92, 255)),  # first letter of the name
)


def _add_member(data: bytes, rng: Random) -> bytes:
    twins = (INDEX, f"top/{INDEX}", "notes.txt", "models/m0/head_0.onnx")
    name = rng.choice((*_OUTSIDE, *_STRANGE, *twins))
    return _with_member(data, name, rng.choice((b"", b"{}", bytes(10**6))))


@functools.cache
def _bomb(kind: str, data: bytes) -> bytes:
    """A zip that is small and unpacks to much more; `data` is that of the sound bundle."""
    size = BOMBS[kind]
    if kind == "zip of a large extra":
        return _with_member(data, "more.bin", bytes(size))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    if kind == "zip of many members":
        top = min(files).removesuffix(INDEX)
        return packed({**files, **{f"{top}{number}": b"" for number in range(30_000)}})
    name = next(name for name in files if name.endswith(INDEX if "index" in kind else ".onnx"))
    return packed({**files, name: files[name] + b" " * (size - len(files[name]))})


BOMBS = {
    "zip of a large extra": MAX_BYTES,
    "zip of a large index": 400 * 2**20,
    "zip of a large network": 400 * 2**20,
    "zip of many members": 0,
}
OF_FILES: dict[str, Callable[[Files, Random], None]] = {
    "bits flipped": _flip_file,
    "bits flipped, rehashed": _flip_file,
    "cut": _cut_file,
    "cut, rehashed": _cut_file,
    "files swapped": _swap_files,
    "files swapped, rehashed": _swap_files,
    "network of garbage, rehashed": _fill_with_garbage,
    "other tensors, rehashed": _change_tensor,
    "weights outside, rehashed": _lay_outside,
    "index with other value": _set_value,
    "index with other key": _change_key,
    "index of other version": _set_version,
    "index with strange name": _rename,
}
OF_ZIPS: dict[str, Callable[[bytes, Random], bytes]] = {
    "zip with bits flipped": _flipped,
    "zip with directory flipped": _flip_directory,
    "zip cut": _cut,
    "zip moved": _move,
    "zip with forged header": _forge_header,
    "zip with strange member": _add_member,
    **{kind: functools.partial(lambda kind, data, rng: _bomb(kind, data), kind) for kind in BOMBS},
}
OF_FOLDERS: dict[str, Callable[[Path, Random], None]] = {"folder with other things": _replace}
_QUICK = tuple(kind for kind in (*OF_FILES, *OF_ZIPS, *OF_FOLDERS) if kind not in BOMBS)
KINDS = (*_QUICK * 6, *BOMBS)  # what takes seconds is rarer
