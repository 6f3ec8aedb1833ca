"""Holds that a search on a cluster loses nothing, whatever happens to a node or to its driver."""

import os
import runpy
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
import ray
from ray.cluster_utils import Cluster

from nas.bundle import Latency
from nas.errors import StudyError
from nas.search import Maximize, Minimize, Rungs, Study, read_study
from nas.search.cluster import TARGET_RESOURCE, ClusterMeasure, run_on_ray
from nas.space import Candidate

SCRIPT = Path(__file__).with_name("clustered.py")
ROOT = SCRIPT.parents[2]
SHARED = runpy.run_path(str(SCRIPT))  # its functions are sent to the nodes, which cannot import tests
SPACE, evaluate, log_of = (SHARED[name] for name in ("SPACE", "evaluate", "log_of"))
OBJECTIVES = [Maximize("accuracy"), Minimize("macs")]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head that trains nothing, and two nodes of one processor each, of which one has the target."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(SCRIPT.parent)]))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0}, connect=True)
    cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1, resources={TARGET_RESOURCE: 1})
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def study_in(folder: Path, **settings: object) -> Study:
    given = {"objectives": OBJECTIVES, "sampler": "random", "budget": "macs<=200K", "seed": 3, **settings}
    return Study(SPACE, folder, evaluate=evaluate(folder, 0.1), **given)  # type: ignore[arg-type]


def check(study: Study, trials: int) -> None:
    """Every network trained once and stored once, none left over."""
    stored = read_study(study.folder).trials
    evaluated = [trial.architecture.id for trial in stored if trial.evaluated]
    assert len(evaluated) == len(set(evaluated)) == trials
    assert all(trial.state != "failed" for trial in stored)
    assert Counter(log_of(study.folder).read_text().split()) == Counter(evaluated)
    assert not list((study.folder / "running").iterdir())


def test_a_study_goes_to_a_cluster_and_back(cluster: Cluster, tmp_path: Path) -> None:
    list(study_in(tmp_path / "run").run(trials=3))
    seen = []
    study = study_in(tmp_path / "run")
    run_on_ray(study, trials=9, on_trial=lambda trial: seen.append(trial.number))
    assert len(seen) == 6
    list(study_in(tmp_path / "run").run(trials=12))
    check(study, 12)

    alone = study_in(tmp_path / "alone")
    list(alone.run(trials=12))
    assert sorted(trial.architecture.id for trial in study_in(tmp_path / "run").front) == sorted(
        trial.architecture.id for trial in alone.front
    ), "with random proposals the networks are the same wherever they are trained"


@pytest.mark.slow
def test_a_node_that_is_lost_takes_nothing_with_it(cluster: Cluster, tmp_path: Path) -> None:
    lost = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    study = study_in(tmp_path / "run")
    removed = []

    def remove(trial: object) -> None:
        if len(removed) == 0 and len(study.trials) >= 4:
            removed.append(cluster.remove_node(lost, allow_graceful=False))

    run_on_ray(study, trials=16, on_trial=remove)
    assert removed
    stored = read_study(tmp_path / "run").trials
    evaluated = [trial.architecture.id for trial in stored if trial.evaluated]
    assert len(evaluated) == len(set(evaluated)) == 16
    assert all(trial.state == "complete" for trial in stored if trial.evaluated)


@pytest.mark.slow
def test_a_driver_that_is_killed_is_continued(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, str(SCRIPT), str(folder), cluster.address, "14"]
    driver = subprocess.Popen(command)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if (folder / "study.json").exists() and sum(t.evaluated for t in read_study(folder).trials) >= 5:
            break
        time.sleep(0.2)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    kept = [trial.architecture.id for trial in read_study(folder).trials if trial.evaluated]
    assert len(kept) >= 5
    assert subprocess.run(command, check=False, timeout=180).returncode == 0
    stored = read_study(folder).trials
    evaluated = [trial.architecture.id for trial in stored if trial.evaluated]
    assert evaluated[: len(kept)] == kept
    assert len(evaluated) == len(set(evaluated)) == 14
    trained = Counter(log_of(folder).read_text().split())
    assert all(trained[id] == 1 for id in kept), "what was stored is not trained again"
    assert not list((folder / "running").iterdir())


@pytest.mark.slow
def test_rungs_on_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    study = study_in(tmp_path / "run", rungs=Rungs((1, 3)))
    run_on_ray(study, trials=9)
    states = Counter(trial.state for trial in study.trials if trial.evaluated)
    assert states["partial"] == 9 and states["complete"] >= 3
    assert all(trial.rung == 1 for trial in study.front)


@pytest.mark.slow
def test_measurements_are_made_one_by_one_where_the_target_is(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "measured"

    def make() -> object:
        def measure(candidate: Candidate) -> Latency:
            with log.open("a") as file:
                file.write(f"begin {os.getpid()}\n")
            time.sleep(0.05)
            with log.open("a") as file:
                file.write(f"end {os.getpid()}\n")
            return Latency(p50_ms=1.0, p95_ms=1.0, spread=0.0, runs=1, target="test")

        return measure

    study = study_in(tmp_path / "run", measure=ClusterMeasure(make), budget="latency<=2ms")  # type: ignore[arg-type]
    run_on_ray(study, trials=4)
    networks = [SPACE.sample(Random(number)) for number in range(6)]
    with ThreadPoolExecutor(6) as threads:  # all at once
        list(threads.map(ClusterMeasure(make), [Candidate(SPACE, each) for each in networks]))  # type: ignore[arg-type]
    elsewhere = ClusterMeasure(make, "another board")  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="calibrated target, another board, but measures on test"):
        elsewhere(Candidate(SPACE, networks[0]))
    lines = log.read_text().split()
    assert lines[::4] == ["begin"] * (len(lines) // 4)
    assert str(os.getpid()) not in lines
    assert all(trial.measured for trial in study.trials if trial.evaluated)


@pytest.mark.slow
def test_failures_are_told_and_mistakes_end_the_search(cluster: Cluster, tmp_path: Path) -> None:
    def half(candidate: Candidate) -> dict[str, float]:
        if int(candidate.id[0], 16) % 2:
            raise RuntimeError("no memory left")
        return {"accuracy": 0.5}

    def mistaken(candidate: Candidate) -> dict[str, float]:
        raise KeyError("accuracy")

    study = Study(SPACE, tmp_path / "half", objectives=OBJECTIVES, evaluate=half, sampler="random")
    run_on_ray(study, trials=8)
    states = Counter(trial.state for trial in study.trials)
    assert states["failed"] and states["complete"]
    assert {trial.reason for trial in study.trials if trial.state == "failed"} == {"no memory left"}
    wrong = Study(SPACE, tmp_path / "wrong", objectives=OBJECTIVES, evaluate=mistaken, sampler="random")
    with pytest.raises(StudyError, match="must not go wrong, but it raised KeyError: 'accuracy'; mend it"):
        run_on_ray(wrong, trials=4)
    assert not [trial for trial in wrong.trials if trial.evaluated]
    assert not list((tmp_path / "wrong/running").iterdir())


def test_no_cluster_at_the_address(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"there must be a Ray cluster at '127\.0\.0\.1:1'"):
        run_on_ray(study_in(tmp_path / "run"), trials=1, address="127.0.0.1:1")
