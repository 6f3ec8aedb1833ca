"""Holds which networks are trained and exported, what is trained again and what is not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nas.bundle import Bundle
from nas.cli import main
from nas.cli.train import spread
from nas.search import read_study

Nas = Callable[..., str]


def _unfinish(network: Path) -> None:
    """As if the training had been killed after its last epoch."""
    (network / "model.safetensors").unlink()
    values = json.loads((network / "network.json").read_text())
    del values["exits"]
    (network / "network.json").write_text(json.dumps(values))


def _checkpoints(folder: Path) -> dict[str, int]:
    return {file.parent.name: file.stat().st_mtime_ns for file in folder.glob("models/*/check*")}


def test_training_again_repeats_nothing(nas: Nas, run_folder: Path) -> None:
    before = _checkpoints(run_folder)
    networks = json.loads(nas("train", run_folder, "--epochs", 1, "--top", 2, "--json"))["networks"]
    assert _checkpoints(run_folder) == before
    assert [network["name"] for network in networks] == [f"net{network['trial']}" for network in networks]
    macs = [network["exits"][-1]["macs"] for network in networks]
    assert macs == sorted(macs)


def test_an_unfinished_training_continues(nas: Nas, copy: Path) -> None:
    before = _checkpoints(copy)
    _unfinish(copy / "models" / min(before))
    weights = copy / "models" / min(before) / "model.safetensors"
    assert min(before) in nas("export", copy, code=2)
    nas("train", copy, "--epochs", 1, "--top", 2)
    assert _checkpoints(copy) == before
    assert weights.exists()


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_train_afresh(
    nas: Nas, copy: Path, run_folder: Path, capsys: pytest.CaptureFixture[str], finished: bool
) -> None:
    best = max(read_study(run_folder).front, key=lambda trial: trial.values["accuracy"])
    name = f"net{best.number}"
    if not finished:
        _unfinish(copy / "models" / name)
    assert main(["train", str(copy), "--epochs", "2", "--top", "1"]) == 0
    out, err = capsys.readouterr()
    assert err == f"nas: {name} was trained with other settings and is trained afresh\n"
    others = {other: stamp for other, stamp in _checkpoints(run_folder).items() if other != name}
    assert others.items() <= _checkpoints(copy).items()
    shutil.rmtree(copy / "models")
    assert nas("train", copy, "--epochs", 2, "--top", 1) == out


def test_export_takes_what_was_trained_last(nas: Nas, copy: Path) -> None:
    before = _checkpoints(copy)
    networks = json.loads(nas("train", copy, "--epochs", 1, "--top", 1, "--json"))["networks"]
    nas("export", copy)
    bundle = Bundle.load(copy / "bundle")
    assert len(before) == 2
    assert [model.name for model in bundle.models] == [network["name"] for network in networks]
    assert _checkpoints(copy) == before


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("selection.json", "[]"),
        ("selection.json", '{"networks": 3}'),
        ("selection.json", '{"networks": ["net1000"]}'),
        ("*/network.json", "{"),
        ("*/network.json", '{"exits": []}'),
        ("*/network.json", '{"exits": [], "architecture": null}'),
        ("*/model.safetensors", "cut off"),
        ("*/model.safetensors", None),
    ],
)
def test_damaged_models_are_misuse(nas: Nas, copy: Path, file: str, content: str | None) -> None:
    path = next(copy.glob(f"models/{file}"))
    path.unlink()
    if content is not None:
        path.write_text(content)
    nas("export", copy, "--out", copy / "new", code=2)
    assert not (copy / "new").exists()


def test_a_damaged_checkpoint_is_misuse(nas: Nas, copy: Path) -> None:
    checkpoint = next(copy.glob("models/*/checkpoint.safetensors"))
    _unfinish(checkpoint.parent)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert str(checkpoint) in nas("train", copy, "--epochs", 1, "--top", 2, code=2)


@pytest.mark.parametrize("size", [1, 2, 5, 9, 40])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_networks_are_spread_over_the_front(size: int, count: int) -> None:
    rng = np.random.default_rng(size * 100 + count)
    front = [
        SimpleNamespace(values={"macs": macs, "accuracy": accuracy})
        for macs, accuracy in zip(rng.permutation(size), rng.permutation(size), strict=True)
    ]
    chosen = spread(front, count)  # type: ignore[arg-type]
    macs = [trial.values["macs"] for trial in chosen]
    assert len(set(macs)) == len(macs) == min(size, count)
    assert macs == sorted(macs)
    assert size - 1 in [trial.values["accuracy"] for trial in chosen]
