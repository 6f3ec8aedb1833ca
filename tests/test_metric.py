"""The table of metrics, and keys."""

from __future__ import annotations

import pytest

from nas.metric import METRICS, QUANTITIES, split_key


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("macs", ("macs", None)),
        ("latency_ms@0", ("latency_ms", 0)),
        ("latency_ms@12", ("latency_ms", 12)),
        ("latency_ms@", ("latency_ms@", None)),
        ("latency_ms@-1", ("latency_ms@-1", None)),
        ("mine@home", ("mine@home", None)),
    ],
)
def test_keys(key: str, parts: tuple[str, int | None]) -> None:
    assert split_key(key) == parts


def test_words_are_of_one_metric_each() -> None:
    assert all(QUANTITIES[metric.quantity] is metric for metric in METRICS.values() if metric.quantity)
    assert len({metric.heading for metric in METRICS.values()}) == len(METRICS)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_metric_has_one_unit_of_its_own(quantity: str) -> None:
    assert list(QUANTITIES[quantity].units.values()).count(1) == 1
