"""A network of each family in fp32 and in int8: milliseconds, size and accuracy."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

from record import Record, Row

from nas import Architecture, SearchSpace, load_space
from nas.bundle import Readout
from nas.cost import Cost
from nas.data import Data, load_data
from nas.export import ExportConfig, export
from nas.export.entries import model_entry, quantized_entry
from nas.latency import LocalTarget
from nas.model import Model
from nas.train import TrainConfig, fit

__all__ = ["FILE", "collect", "markdown"]

FILE = "int8.csv"
FAMILIES = ("mobile", "shuffle", "lowrank", "squeeze", "xception", "msdnet", "mixed")
QUICK = FAMILIES[:3]
MACS, QUICK_MACS = (3e6, 12e6), (0, 3e6)  # least and most; digits are much smaller


def collect(record: Record, *, epochs: int, images: int | None) -> None:
    """A row for each family, whose network is trained shortly: int8 loses what it loses at any accuracy."""
    done = {row["family"] for row in record.rows(FILE)}
    families = [family for family in (QUICK if record.quick else FAMILIES) if family not in done]
    data = load_data("digits" if record.quick else "fashion-mnist") if families else None
    for family in families:
        assert data is not None
        macs = QUICK_MACS if record.quick else MACS
        record.add(FILE, _row(family, data, macs=macs, epochs=epochs, images=images))


def markdown(rows: list[Row]) -> str:
    lines = [
        "| family | MMAC | fp32 ms | int8 ms | fp32 KiB | int8 KiB | fp32 accuracy | int8 accuracy | kept |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --- |",
    ]
    for row in rows:
        kinds = ("fp32", "int8")
        times = " | ".join(f"{float(row[f'{kind}_ms']):.3f}" for kind in kinds)
        sizes = " | ".join(f"{int(row[f'{kind}_bytes']) / 1024:.0f}" for kind in kinds)
        accuracies = " | ".join(f"{100 * float(row[f'{kind}_accuracy']):.2f} %" for kind in kinds)
        kept = "yes" if row["kept"] == "True" else "no"
        macs = f"{int(row['macs']) / 1e6:.1f}"
        lines.append(f"| {row['family']} | {macs} | {times} | {sizes} | {accuracies} | {kept} |")
    return "\n".join(lines)


def _row(
    family: str, data: Data, *, macs: tuple[float, float], epochs: int, images: int | None
) -> dict[str, object]:
    space = load_space(f"search_spaces.{family}:space")
    assert isinstance(space, SearchSpace)
    graph = space.graph(_sampled(space.at(data.input_shape, data.num_classes), *macs))
    model = Model(graph)
    fit(model, data, TrainConfig(epochs=epochs, images=images, learning_rate=0.03))
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        config = ExportConfig(int8=True, fused=False)
        bundle = export({"net": model}, Path(folder, "b"), data=data, target=LocalTarget(), config=config)
        (found,) = bundle.provenance["int8"]
        sizes = _sizes(model, data)
    return {"family": family, "macs": Cost.of(graph).macs, **found, **sizes}


def _sampled(space: SearchSpace, least: float, most: float) -> Architecture:
    """The first random network of a middling size."""
    rng = Random(0)
    for _ in range(5000):
        architecture = space.sample(rng)
        if least <= Cost.of(space.graph(architecture)).macs <= most:
            return architecture
    raise ValueError(f"{space.name} must have networks of {least:g} to {most:g} MACs, but has none")


def _sizes(model: Model, data: Data) -> dict[str, int]:
    """Bytes of all files of the network."""
    full = model_entry("net", model, Readout(), fused=False)
    small = quantized_entry(full, model, data.x_train)
    return {
        f"{kind}_bytes": sum(map(len, entry.files.values()))
        for kind, entry in (("fp32", full), ("int8", small))
    }
