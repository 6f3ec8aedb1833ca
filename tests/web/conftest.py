"""A small bundle on disk."""

from pathlib import Path

import pytest

from nas.bundle import Bundle, Level, Readout, write_bundle
from nas.export.entries import model_entry
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.model import Model
from nas.net import Feature, Net

SHAPE, CLASSES = (1, 6, 6), ("ant", "bee", "cat")


def _head(x: Feature) -> Feature:
    return linear(global_avg_pool(conv_norm_act(x, 4)), len(CLASSES))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One network with two exits and random weights. Not to be changed."""
    net = Net(lambda name, options: options[0])
    x = conv_norm_act(net.input(SHAPE), 4, kernel_size=3)
    net.exit(_head, x)
    x = conv_norm_act(x, 8, kernel_size=3)
    net.exit(_head, x)
    entry = model_entry("net", Model(net.graph()), Readout())
    levels = tuple(
        Level(model="net", exit=exit, accuracy=0.5 + exit / 4, macs=100 * (exit + 1)) for exit in (0, 1)
    )
    value = Bundle(input_shape=SHAPE, classes=CLASSES, models=(entry.model,), levels=levels)
    folder = tmp_path_factory.mktemp("web") / "bundle"
    write_bundle(folder, value, {**entry.files, "models/net/notes.txt": b"a further file"})
    return folder
