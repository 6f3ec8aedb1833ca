"""nas eval, nas train --exits and nas export --cascades: from labels to thresholds to a page about exits."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas.bundle import Bundle
from nas.cli.train import EXIT_SETTINGS
from nas.train import TrainConfig

Nas = Callable[..., str]
PLOTS = ("budgets", "confusion", "easy", "hard", "shares")


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network has exits that learn from each other, exported with thresholds."""
    from nas.cli import main

    run = tmp_path_factory.mktemp("dynamic") / "run"
    search = f"search search_spaces.tiny:space --data digits --trials 1 --epochs 1 --out {run}"
    for command in (
        [*search.split(), "--budget", "macs<=300K, macs@1<=300K"],
        ["train", str(run), "--epochs", "3", "--exits", "combine=sum,distill=ensemble,distill_weight=0.5"],
        ["export", str(run), "--cascades", "3", "--no-fused"],
    ):
        assert main(command) == 0
    return run


def test_a_page_about_exits(nas: Nas, dynamic: Path, tmp_path: Path) -> None:
    out = nas("eval", dynamic, "--out", tmp_path, "--budgets", 3)
    assert "failure prediction" in out and "leave at each exit" in out
    (model,) = Bundle.load(dynamic / "bundle").models
    page = (tmp_path / "index.html").read_text()
    for plot in PLOTS:
        assert f'src="{model.name}_{plot}.png"' in page
        assert (tmp_path / f"{model.name}_{plot}.png").stat().st_size > 1000


def test_figures_for_programs(nas: Nas, dynamic: Path, tmp_path: Path) -> None:
    (found,) = json.loads(nas("eval", dynamic, "--out", tmp_path, "--json"))["models"]
    accuracies = [exit["test_accuracy"] for exit in found["exits"]]
    exported = Bundle.load(dynamic / "bundle").provenance["exits"]
    assert accuracies == pytest.approx([exit["test_accuracy"] for exit in exported])
    assert [exit["macs"] for exit in found["exits"]] == [exit["macs"] for exit in exported]
    confusion = np.array(found["confusion"])
    # What i gets right and j wrong, less the other way round, is the difference of their accuracies.
    np.testing.assert_allclose(confusion - confusion.T, np.subtract.outer(accuracies, accuracies), atol=1e-9)
    assert sum(found["hardness"]) == pytest.approx(1)
    assert len(found["budgets"]) == 6
    for point in found["budgets"]:
        assert sum(point["shares"]) == pytest.approx(1)


def test_exits_answer_as_they_were_trained(dynamic: Path) -> None:
    bundle = Bundle.load(dynamic / "bundle")
    assert {model.readout.combine for model in bundle.models} == {"sum"}
    assert len(bundle.provenance["cascades"]) >= 1
    assert (
        json.loads(next(dynamic.glob("models/*/network.json")).read_text())["config"]["distill"] == "ensemble"
    )


def test_a_teacher_on_the_command_line(nas: Nas, dynamic: Path) -> None:
    teacher = next(dynamic.glob("models/*/model.safetensors"))
    teacher = teacher.rename(dynamic / "teacher.safetensors")
    nas("train", dynamic, "--epochs", 1, "--exits", "distill=teacher", "--teacher", teacher)
    network = json.loads(next(dynamic.glob("models/*/network.json")).read_text())
    assert len(network["teacher"]) == 16
    assert "a teacher must be given" in nas("train", dynamic, "--exits", "distill=teacher", code=2)


def test_settings_of_exits_are_settings_of_a_training() -> None:
    assert set(EXIT_SETTINGS) <= set(TrainConfig().to_json())


@pytest.mark.parametrize("text", ["epochs=3", "distill", "gradients="])
def test_settings_that_are_none(dynamic: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    from nas.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["train", str(dynamic), "--exits", text])
    assert ended.value.code == 2
    assert "must be NAME=VALUE with NAME one of exit_loss, combine" in capsys.readouterr().err


def test_a_network_without_early_exits(nas: Nas, dynamic: Path, tmp_path: Path) -> None:
    message = nas("eval", dynamic, "--model", "net9", "--out", tmp_path, code=2)
    assert "exits are compared, which needs 'net9' to have 2 or more" in message
