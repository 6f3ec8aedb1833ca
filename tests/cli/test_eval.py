"""nas eval, nas train --exits and nas export --cascades: from labels to thresholds to a page about exits."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest

from nas.bundle import Bundle
from nas.cli.output import saying_warnings
from nas.cli.train import EXIT_SETTINGS
from nas.model import Model
from nas.train import TrainConfig
from search_spaces.tiny import space

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


def test_budgets_in_milliseconds(nas: Nas, dynamic: Path, tmp_path: Path) -> None:
    out = nas("eval", dynamic, "--out", tmp_path, "--target", "local", "--budgets", 2, "--json")
    (found,) = json.loads(out)["models"]
    times = [exit["latency_ms"] for exit in found["exits"]]
    assert found["target"] and min(times) > 0
    assert "Milliseconds were measured for this page on" in (tmp_path / "index.html").read_text()
    for point in found["budgets"]:
        assert point["metric"] == "latency_ms"
        assert times[0] <= point["validation_cost"] + point["margin"] <= point["budget"] + 1e-9
        assert point["validation_cost"] <= 2 * times[-1]


def test_targets_that_tell_other_times(nas: Nas, dynamic: Path, tmp_path: Path) -> None:
    given = ["eval", dynamic, "--out", tmp_path]
    assert "leave out precision=int8" in nas(*given, "--target", "local,precision=int8", code=2)
    assert "give --target too" in nas(*given, "--threads", 1, code=2)


def test_a_page_of_what_a_device_sees(nas: Nas, dynamic: Path, tmp_path: Path) -> None:
    """With other shares of the classes, the page tells what the bundle tells."""
    shares = ",".join(["1"] * 5 + ["0.1"] * 5)
    nas("export", dynamic, "--no-fused", "--out", tmp_path / "b", "--class-shares", shares)
    told = nas("eval", dynamic, "--bundle", tmp_path / "b", "--out", tmp_path, "--budgets", 1, "--json")
    (found,) = json.loads(told)["models"]
    exported = Bundle.load(tmp_path / "b").provenance["exits"]
    assert [exit["test_accuracy"] for exit in found["exits"]] == pytest.approx(
        [exit["test_accuracy"] for exit in exported]
    )


def test_a_training_tells_the_macs_of_its_export(nas: Nas, dynamic: Path) -> None:
    (model,) = Bundle.load(dynamic / "bundle").models
    network = json.loads((dynamic / "models" / model.name / "network.json").read_text())
    exported = Bundle.load(dynamic / "bundle").provenance["exits"]
    assert [exit["macs"] for exit in network["exits"]] == [exit["macs"] for exit in exported]


def test_exits_answer_as_they_were_trained(dynamic: Path) -> None:
    bundle = Bundle.load(dynamic / "bundle")
    assert {model.readout.combine for model in bundle.models} == {"sum"}
    assert len(bundle.provenance["cascades"]) >= 1
    assert (
        json.loads(next(dynamic.glob("models/*/network.json")).read_text())["config"]["distill"] == "ensemble"
    )


def test_a_teacher_on_the_command_line(nas: Nas, dynamic: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(dynamic, tmp_path / "run"))
    own, teacher = next(run.glob("models/*/model.safetensors")), tmp_path / "teacher.safetensors"
    shutil.copy(own, teacher)
    nas("train", run, "--epochs", 1, "--exits", "distill=teacher", "--teacher", teacher)
    assert len(json.loads(next(run.glob("models/*/network.json")).read_text())["teacher"]) == 16
    before = own.read_bytes()
    nas("train", run, "--epochs", 1, "--exits", "distill=teacher", "--teacher", teacher)
    assert own.read_bytes() == before, "what is done is not repeated"


def test_a_teacher_that_cannot_be_costs_no_network(nas: Nas, dynamic: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(dynamic, tmp_path / "run"))
    own, other = next(run.glob("models/*/model.safetensors")), tmp_path / "other.safetensors"
    larger = space.at((1, 16, 16), 10)
    Model(larger.graph(larger.sample(Random(0)))).save(other)
    before = {file: file.read_bytes() for file in sorted(run.glob("models/*/*"))}
    for teacher, message in (
        ([], "a teacher must be given with distill='teacher'"),
        (["--teacher", other], "a teacher must have the network's image shape and classes"),
        (["--teacher", own], "a teacher must not be a network that is trained now"),
    ):
        assert message in nas("train", run, "--exits", "distill=teacher", *teacher, code=2)
    assert {file: file.read_bytes() for file in sorted(run.glob("models/*/*"))} == before


def test_a_bundle_of_other_data(nas: Nas, dynamic: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(dynamic, tmp_path / "run"))
    file = run / "bundle" / "bundle.json"
    record = json.loads(file.read_text())
    record["provenance"]["data"]["hash"] = "0" * 16
    file.write_text(json.dumps(record))
    assert "must be told of by images of the data they were trained on, 'digits'" in nas("eval", run, code=2)


def test_shares_of_classes(nas: Nas, dynamic: Path, tmp_path: Path) -> None:
    given = ["export", dynamic, "--cascades", 1, "--no-fused", "--out", tmp_path / "b", "--class-shares"]
    nas(*given, ",".join(["1"] * 10))
    assert "class_shares must be a number of at least 0 for each of 10 classes" in nas(*given, "1,2", code=2)


def test_read_outs_and_budgets_of_ones_own(nas: Nas, dynamic: Path, tmp_path: Path) -> None:
    given = ["export", dynamic, "--no-fused", "--out", tmp_path / "b"]
    nas(*given, "--cascade-budget", "macs<=150K", "--readout", "combine=mean,confidence=margin")
    bundle = Bundle.load(tmp_path / "b")
    assert {(model.readout.combine, model.readout.confidence) for model in bundle.models} == {
        ("mean", "margin")
    }
    (found,) = bundle.provenance["cascades"]
    assert found["macs"] <= 150_000


def test_uneven_classes_are_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with saying_warnings():
        warnings.warn("images are few", stacklevel=1)
        warnings.warn("images are few", stacklevel=1)
    assert capsys.readouterr().err == "nas: images are few\n"


def test_what_else_is_warned_of_is_not_swallowed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(RuntimeWarning, match="invalid value"), pytest.raises(ValueError), saying_warnings():
        warnings.warn("images are few", stacklevel=1)
        np.log(np.array(-1.0))
        raise ValueError
    assert capsys.readouterr().err == "nas: images are few\n"


def test_settings_of_exits_are_settings_of_a_training() -> None:
    assert set(EXIT_SETTINGS) <= set(TrainConfig().to_json())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs=3", "must be NAME=VALUE with NAME one of exit_loss, combine"),
        ("distill", "must be NAME=VALUE with NAME one of"),
        ("gradients=", "must be NAME=VALUE with NAME one of"),
        ("distill_weight=much", "must give distill_weight a number, but got 'much'"),
        ("combine=sum,combine=last", "must name each setting once, but combine is named twice"),
    ],
)
def test_settings_that_are_none(
    dynamic: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    from nas.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["train", str(dynamic), "--exits", text])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_network_without_early_exits(nas: Nas, dynamic: Path, tmp_path: Path) -> None:
    message = nas("eval", dynamic, "--model", "net9", "--out", tmp_path, code=2)
    assert "exits are compared, which needs 'net9' to have 2 or more" in message
