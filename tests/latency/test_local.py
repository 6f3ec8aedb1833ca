"""The local target says what it is and refuses what cannot be."""

import pytest

from nas.errors import TargetError
from nas.latency import LocalTarget


def test_identity_says_chip_runtime_and_threads() -> None:
    one, two = LocalTarget().identity, LocalTarget(threads=2).identity
    assert one != two
    assert one == LocalTarget().identity
    assert "onnxruntime" in one


def test_threads_must_be_positive() -> None:
    with pytest.raises(TargetError, match="at least 1, but got 0"):
        LocalTarget(threads=0)
