"""Messages come out as they went in; all else is one clear error, before memory is taken for it."""

import json
import struct
from io import BytesIO
from random import Random
from typing import Any

import numpy as np
import pytest

from nas.errors import TargetError
from nas.latency.protocol import (
    LIMIT_BYTES,
    VERSION,
    Message,
    describe_arrays,
    prove,
    read_message,
    restore_arrays,
    write_message,
)

DTYPES = (
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", ">f4", ">i2"),
)


def random_arrays(random: Random) -> dict[str, np.ndarray]:
    arrays = {}
    for number in range(random.randrange(4)):
        shape = [random.randrange(4) for _ in range(random.randrange(4))]
        values = np.frombuffer(random.randbytes(int(np.prod(shape))), np.uint8).reshape(shape)
        arrays[f"näme {number}"] = values.astype(random.choice(DTYPES))
    return arrays


def random_frame(random: Random) -> tuple[Message, dict[str, np.ndarray], bytes]:
    arrays = random_arrays(random)
    specs, payloads = describe_arrays(arrays)
    fields = {"inputs": specs, "seconds": random.random(), "text": random.choice(["", "ü", "\ud800", "}"])}
    message = Message(random.choice(["time", ""]), fields, payloads)
    stream = BytesIO()
    write_message(stream, message)
    return message, arrays, stream.getvalue()


def frame(header: Any, version: int = VERSION, magic: bytes = b"nas-dial") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack(">8sHI", magic, version, len(text)) + text


@pytest.mark.parametrize("seed", range(100))
def test_messages_round_trip(seed: int) -> None:
    random = Random(seed)
    messages = [random_frame(random) for _ in range(3)]
    stream = BytesIO(b"".join(data for _, _, data in messages))
    for message, arrays, _ in messages:
        found = read_message(stream)
        assert found == message
        restored = restore_arrays(found.fields["inputs"], found.payloads)
        assert list(restored) == list(arrays)
        for name, array in arrays.items():
            assert restored[name].dtype == array.dtype.newbyteorder("=")
            assert np.array_equal(restored[name], array)
    assert not stream.read()


@pytest.mark.parametrize("seed", range(100))
def test_damage_is_one_class_of_error(seed: int) -> None:
    random = Random(seed)
    for _ in range(50):
        data = bytearray(random_frame(random)[2])
        for _ in range(random.randrange(1, 4)):
            begin = random.randrange(len(data) + 1)
            end = min(len(data), begin + random.choice([0, 1, 1, 8, len(data)]))
            data[begin:end] = random.choice(
                [random.randbytes(end - begin), random.randbytes(2), b"-9e9", b""]
            )
        try:
            message = read_message(BytesIO(data), 1000)
            restore_arrays(message.fields.get("inputs"), message.payloads)
        except TargetError as error:
            assert "must" in str(error)


@pytest.mark.parametrize("length", range(0, 70, 7))
def test_a_cut_message(length: int) -> None:
    data = frame({"kind": "time", "fields": {}, "sizes": [20]}) + bytes(20)
    assert read_message(BytesIO(data)).payloads == (bytes(20),)
    with pytest.raises(TargetError, match="must be whole, but ended after"):
        read_message(BytesIO(data[:length]))


def test_other_versions_and_other_programs() -> None:
    with pytest.raises(TargetError, match=f"must be {VERSION}, but is 9 on the other side"):
        read_message(BytesIO(frame({}, version=9)))
    with pytest.raises(TargetError, match=r"must begin with b.nas-dial., but began with b.HTTP/1\.1"):
        read_message(BytesIO(b"HTTP/1.1 400 Bad Request\r\n"))


HEADER = {"kind": "time", "fields": {}, "sizes": []}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        [],
        7,
        {},
        HEADER | {"kind": 1},
        HEADER | {"fields": []},
        HEADER | {"sizes": 1},
        HEADER | {"sizes": [-1]},
        HEADER | {"sizes": [1.5]},
        HEADER | {"sizes": [True]},
        HEADER | {"sizes": ["1"]},
        HEADER | {"sizes": [int("9" * 4300)] * 2},
    ],
    ids=lambda header: repr(header)[:40],
)
def test_headers_that_are_none(header: Any) -> None:
    with pytest.raises(TargetError, match="header must be JSON"):
        read_message(BytesIO(frame(header)))


class Untouchable(BytesIO):
    """A stream of which at most so many bytes may be asked at once."""

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert 0 <= size <= 1000
        return super().read(size)


@pytest.mark.parametrize(
    "data",
    [
        frame(HEADER | {"sizes": [2**30]}),
        frame(HEADER | {"sizes": [10] * 100}),
        frame(HEADER | {"sizes": [2**62]}),
        struct.pack(">8sHI", b"nas-dial", VERSION, 2**32 - 1),
        struct.pack(">8sHI", b"nas-dial", VERSION, 1001),
    ],
)
def test_too_much_is_refused_before_it_is_read(data: bytes) -> None:
    with pytest.raises(TargetError, match="must have at most 1000 bytes"):
        read_message(Untouchable(data), 1000)


def test_too_much_is_not_sent() -> None:
    stream = BytesIO()
    with pytest.raises(TargetError, match="must have at most 1000 bytes"):
        write_message(stream, Message("time", payloads=(bytes(999),)), 1000)
    with pytest.raises(TargetError, match=f"must have at most {2**20} bytes"):
        write_message(stream, Message("time", {"text": "x" * 2**20}))
    with pytest.raises(TargetError, match=f"must have at most {LIMIT_BYTES} bytes"):
        read_message(BytesIO(frame(HEADER | {"sizes": [LIMIT_BYTES]})))
    assert not stream.getvalue()


SPEC = {"name": "image", "dtype": "<f4", "shape": [2, 2]}


@pytest.mark.parametrize(
    "specs",
    [
        None,
        7,
        [],
        ["image"],
        [{}],
        [SPEC, SPEC],
        [SPEC | {"shape": [2, 3]}],
        [SPEC | {"shape": [-2, -2]}],
        [SPEC | {"shape": [2.0, 2.0]}],
        [SPEC | {"shape": ["2", 2]}],
        [SPEC | {"shape": [4] + [1] * 99}],
        [SPEC | {"shape": 4}],
        [SPEC | {"shape": None}],
    ],
)
def test_arrays_that_do_not_fit_their_bytes(specs: Any) -> None:
    assert restore_arrays([SPEC], [bytes(16)])["image"].shape == (2, 2)
    with pytest.raises(TargetError, match="an array must come with name, dtype and shape"):
        restore_arrays(specs, [bytes(16)])


@pytest.mark.parametrize("dtype", ["|O", "O", "<U1", "V4", "<M8[s]", "<c8", "", "f4,f4", None, 7, ["<f4"]])
def test_only_numbers_travel(dtype: Any) -> None:
    with pytest.raises(TargetError, match="type must be one of"):
        restore_arrays([SPEC | {"dtype": dtype}], [bytes(16)])


@pytest.mark.parametrize(
    "array", [np.array([{}]), np.array(["x"]), np.array([1j]), np.array(["2020"], "M8[D]")]
)
def test_other_arrays_are_not_sent(array: np.ndarray) -> None:
    with pytest.raises(TargetError, match="type must be one of"):
        describe_arrays({"image": array})


def test_proofs_depend_on_token_and_nonce() -> None:
    proofs = {prove(token, nonce) for token in ("a", "b", "ü") for nonce in (b"1", b"2")}
    assert len(proofs) == 6
    assert prove("a", b"1") in proofs
