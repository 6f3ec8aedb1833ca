"""Exported levels tell energy as measured where the target has a meter, else as its user declares it."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import final

import numpy as np
import pytest

from nas.bundle import Bundle
from nas.data import load_data
from nas.export import export
from nas.latency import DeclaredEnergy, Target, Timing
from nas.latency.target import Inputs
from nas.model import Model
from nas.report.tables import level_table
from nas.space import SearchSpace, load_space


@final
class MeteredTarget(Target):
    """A millisecond for each file, at so many watts."""

    def __init__(self, power_w: float | None) -> None:
        self._power_w = power_w

    @property
    def identity(self) -> str:
        return "board"

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        return Timing((np.full((1, len(models)), 1e-3),) * 4, (), 0.0, "board", self._power_w)


@pytest.mark.parametrize(
    ("power_w", "declared", "source", "power"),
    [
        (3.0, None, "measured", lambda ms: 3 * ms),
        (3.0, DeclaredEnergy(0.5, 2), "measured", lambda ms: 3 * ms),
        (None, DeclaredEnergy(0.5, 2), "declared: 0.5mJ + 2W", lambda ms: 0.5 + 2 * ms),
        (None, None, "", None),
    ],
)
def test_energy_says_where_it_is_from(
    tmp_path: Path, power_w: float | None, declared: DeclaredEnergy | None, source: str, power: object
) -> None:
    data, space = load_data("digits"), load_space("search_spaces.tiny:space")
    assert isinstance(space, SearchSpace)
    space = space.at(data.input_shape, data.num_classes)
    model = Model(space.graph(space.sample(Random(0))))
    target = MeteredTarget(power_w)
    bundle = export({"net": model}, tmp_path / "bundle", data=data, target=target, energy=declared)
    for level in Bundle.load(tmp_path / "bundle").levels:
        assert level.latency
        assert level.energy_source == source
        expected = power(level.latency.p50_ms) if callable(power) else None
        assert level.energy_mj == (expected if expected is None else pytest.approx(expected))
    assert (level_table(bundle.levels).header[-1] == "mJ from") == bool(source)
