"""Messages between an agent and its clients: JSON and binary payloads, each size known before it is read.

A message is a prefix (magic, protocol version, length of the header; the same in every version), the header,
and the payloads, whose sizes stand in the header. Arrays travel as name, type, shape and raw bytes.
"""

from __future__ import annotations

import hmac
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, final

import numpy as np
from numpy.typing import NDArray

from nas.errors import TargetError

__all__ = [
    "ALIVE",
    "LIMIT_BYTES",
    "VERSION",
    "Message",
    "describe_arrays",
    "failure",
    "prove",
    "read_message",
    "restore_arrays",
    "write_message",
]

VERSION = 1
LIMIT_BYTES = 256 * 2**20
"""The most that a message may hold, unless an agent is told otherwise."""

_MAGIC = b"nas-dial"
_PREFIX = struct.Struct(">8sHI")
_HEADER_BYTES = 2**20
_REASON_LETTERS = 2000
_DTYPES = ("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")


@final
@dataclass(frozen=True)
class Message:
    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    """JSON values."""
    payloads: tuple[bytes, ...] = ()


ALIVE = Message("alive")
"""Says that an answer is still to come."""


def failure(error: Exception) -> Message:
    """The answer that what was asked cannot be done."""
    return Message("error", {"reason": (str(error) or repr(error))[:_REASON_LETTERS]})


def write_message(stream: BinaryIO, message: Message, limit_bytes: int = LIMIT_BYTES) -> None:
    """Send a message whole; `TargetError`, and nothing sent, where it is larger than the limit."""
    sizes = [len(payload) for payload in message.payloads]
    header = json.dumps({"kind": message.kind, "fields": message.fields, "sizes": sizes}).encode()
    _check_size("a message's header", len(header), _HEADER_BYTES)
    _check_size("a message", len(header) + sum(sizes), limit_bytes)
    stream.write(_PREFIX.pack(_MAGIC, VERSION, len(header)) + header)
    for payload in message.payloads:
        stream.write(payload)
    stream.flush()


def read_message(stream: BinaryIO, limit_bytes: int = LIMIT_BYTES) -> Message:
    """Receive a message; `TargetError` where what comes is none, is cut or is larger than the limit."""
    magic, version, length = _PREFIX.unpack(_read(stream, _PREFIX.size))
    if magic != _MAGIC:
        raise TargetError(
            f"a message must begin with {_MAGIC!r}, but began with {magic!r}; let only nas agent answer there"
        )
    if version != VERSION:
        raise TargetError(
            f"the protocol version must be {VERSION}, but is {version} on the other side; install the same "
            "nas-dial on both"
        )
    _check_size("a message's header", length, min(_HEADER_BYTES, limit_bytes))
    try:
        header = json.loads(_read(stream, length))
        kind, fields, sizes = header["kind"], header["fields"], header["sizes"]
        if not isinstance(kind, str) or not isinstance(fields, dict):
            raise TypeError("kind or fields of another type")
        if not all(type(size) is int and 0 <= size < 2**63 for size in sizes):
            raise TypeError("sizes that are none")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, TargetError):
            raise
        rule = "a message's header must be JSON with kind, fields and sizes"
        raise TargetError(f"{rule}, but is not: {error!r}; connect again") from error
    _check_size("a message", length + sum(sizes), limit_bytes)
    return Message(kind, fields, tuple(_read(stream, size) for size in sizes))


def describe_arrays(arrays: Mapping[str, NDArray[Any]]) -> tuple[list[dict[str, Any]], tuple[bytes, ...]]:
    """Name, type and shape of each array, and the bytes of each, little end first."""
    specs, payloads = [], []
    for name, given in arrays.items():
        array = np.asarray(given)
        dtype = array.dtype.newbyteorder("<")
        _check_dtype(dtype.str)
        specs.append({"name": name, "dtype": dtype.str, "shape": list(array.shape)})
        payloads.append(array.astype(dtype).tobytes())
    return specs, tuple(payloads)


def restore_arrays(specs: Any, payloads: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    """The arrays that were described; `TargetError` where a description does not fit its bytes."""
    try:
        return {
            str(spec["name"]): _array(spec["dtype"], tuple(spec["shape"]), payload)
            for spec, payload in zip(specs, payloads, strict=True)
        }
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        if isinstance(error, TargetError):
            raise
        rule = "an array must come with name, dtype and shape that fit its bytes"
        raise TargetError(f"{rule}, but did not: {error!r}; connect again") from error


def prove(token: str, nonce: bytes) -> bytes:
    """What only one who has the token can answer to a nonce."""
    return hmac.digest(token.encode(), _MAGIC + nonce, "sha256")


def _array(dtype: Any, shape: tuple[int, ...], payload: bytes) -> NDArray[Any]:
    _check_dtype(dtype)
    little = np.dtype(dtype)
    if min(shape, default=0) < 0 or math.prod(shape) * little.itemsize != len(payload):
        raise ValueError(f"{len(payload)} bytes for {dtype} of {shape}")
    return np.frombuffer(payload, little).reshape(shape).astype(little.newbyteorder("="))


def _check_dtype(dtype: Any) -> None:
    if dtype not in _DTYPES:
        raise TargetError(f"an input's type must be one of {_DTYPES}, but got {dtype!r}; convert it")


def _check_size(what: str, size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise TargetError(
            f"{what} must have at most {limit_bytes} bytes, but has {size_bytes}; measure a smaller network"
        )


def _read(stream: BinaryIO, size_bytes: int) -> bytes:
    data = stream.read(size_bytes)
    if len(data) < size_bytes:
        raise TargetError(
            f"a message must be whole, but ended after {len(data)} of {size_bytes} bytes; connect again"
        )
    return data
