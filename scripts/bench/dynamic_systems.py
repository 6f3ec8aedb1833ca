"""Who takes part: the searched network with its exits, MSDNet, and networks trained for one budget each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import Any, final

from dynamic_data import Task
from dynamic_search import best_dynamic, best_static, calibrated, space_of

from nas import Architecture, Candidate, SearchSpace, load_space
from nas.train import TrainConfig

__all__ = ["DONE", "OPTIONS", "OWN", "Training", "level_exits", "place_of", "trainings"]

DONE = "done.json"
CLOSE_POINTS = 0.3

OPTIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "plain": {},
        "weighted": {"exit_loss": "weighted"},
        "early-weighted": {"exit_loss": "early-weighted"},
        "equilibrium": {"gradients": "equilibrium"},
        "last": {"distill": "last"},
        "ensemble": {"distill": "ensemble"},
        "boosted": {"combine": "sum"},
        "teacher": {"distill": "teacher"},
    }
)
"""How exits may learn, each beside the sum of their losses."""
OWN = "plain"
"""The option of the main run."""
TEACHER = "msdnet-0"

REDUCED: Mapping[str, Any] = MappingProxyType(
    {"scales": 3, "channels": 8, "growth": 4, "base": 2, "step_mode": "even", "step": 1, "blocks": 5}
    | {"head": "official", "conv": "standard"}
)
LIN_GROW = {**REDUCED, "channels": 16, "growth": 6, "base": 1, "step_mode": "lin_grow"}
OFFICIAL = {**REDUCED, "channels": 16, "growth": 6, "base": 4, "step": 2, "blocks": 7}
MOBILE = {0.25: (1, 1, 2, 2, 1, 1, 1), 0.35: (1, 1, 2, 2, 2, 2, 1), 0.5: (1, 2, 2, 3, 2, 2, 1)}
"""Depth of each stage, by width."""
SHUFFLE = {
    "_s": ((24, 48, 96), (1, 2, 1)),
    "_m": ((48, 96, 192), (1, 2, 1)),
    "_l": ((48, 96, 192), (2, 4, 2)),
}
"""Channels and depth of each stage."""
MSDNET = "search_spaces.msdnet:space"


@final
@dataclass(frozen=True)
class Training:
    """One network that is trained; what has equal `system` differs in its seed only."""

    system: str
    seed: int
    architecture: Architecture
    config: TrainConfig
    teacher: str | None = None
    """The training whose network teaches this one."""

    @property
    def name(self) -> str:
        return f"{self.system}-{self.seed}"


def trainings(task: Task, folder: Path) -> Iterator[Training]:
    """All of them, the most important first; the searches must have ended."""
    own, recipe = best_dynamic(folder), task.recipe
    for seed in range(task.seeds):
        yield Training("ours", seed, own, _seeded(recipe, seed, OWN))
        yield Training("msdnet", seed, _msdnet(task, REDUCED), _seeded(recipe, seed))
        for level, architecture in enumerate(_levels(task, folder)):
            yield Training(f"static{level}", seed, architecture, _seeded(recipe, seed))
    for option in _options(task):
        teacher = TEACHER if option == "teacher" else None
        for seed in range(task.seeds if _is_close(folder, option) else 1):
            yield Training(option, seed, own, _seeded(recipe, seed, option), teacher)
    others = {**_peers(task), **_larger(task)}
    if OPTIONS[OWN]:
        yield Training("msdnet-ours", 0, _msdnet(task, REDUCED), _seeded(recipe, 0, OWN))
    for name, architecture in others.items():
        shorter = replace(recipe, epochs=2) if name == "lin_grow" else recipe
        yield Training(name, 0, architecture, shorter)


def _is_close(folder: Path, option: str) -> bool:
    """Whether an option is so near to the main run on validation, both of one seed, that others must tell."""
    found = [place_of(folder, f"{name}-0") / DONE for name in (option, "ours")]
    if not all(file.exists() for file in found):
        return False
    option_mean, own_mean = (100 * mean(json.loads(file.read_text())["val"]) for file in found)
    return option_mean >= own_mean - CLOSE_POINTS


def place_of(folder: Path, name: str) -> Path:
    """Where a training keeps what it has."""
    return folder / "networks" / name


def _options(task: Task) -> list[str]:
    """Those beside the main one; a quick run tries a few only."""
    others = [name for name in OPTIONS if name != OWN]
    return others if task.seeds > 1 else others[-2:]


def _larger(task: Task) -> dict[str, Architecture]:
    """MSDNet at the sizes of its README, which take a minute and more per thousand images."""
    recipes = {"fashion": {"lin_grow": LIN_GROW}, "cifar10": {"official": OFFICIAL}}
    return {name: _msdnet(task, recipe) for name, recipe in recipes.get(task.name, {}).items()}


def level_exits(exits: int) -> tuple[int, ...]:
    """The exits beside which networks of one budget are set: the first, the middle and the last."""
    return tuple(sorted({0, exits // 2, exits - 1}))


def _levels(task: Task, folder: Path) -> list[Architecture]:
    """For each of these levels the best network of one budget that takes no longer."""
    own, times = Candidate(space_of("dynamic", task), best_dynamic(folder)), calibrated(task, folder)
    chosen = level_exits(len(own.graph.exits))
    return [best_static(folder, times(own, exit=exit).value) for exit in chosen]


def _seeded(recipe: TrainConfig, seed: int, option: str = "plain") -> TrainConfig:
    return replace(recipe, seed=seed, **OPTIONS[option])


def _msdnet(task: Task, recipe: Mapping[str, Any]) -> Architecture:
    return _space(MSDNET, task).architecture(recipe)


def _space(name: str, task: Task) -> SearchSpace:
    space = load_space(name)
    assert isinstance(space, SearchSpace), name
    return space.at(task.input_shape, task.num_classes)


def _peers(task: Task) -> dict[str, Architecture]:
    """Published plans at widths and depths for such costs, without early exits; one in a quick run."""
    found: dict[str, Architecture] = {}
    for ratio, depths in MOBILE.items():
        stages: list[dict[str, Any]] = [
            {"width_ratio": ratio, "depth": depth, "kernel_size": 3, "se_ratio": 0.0, "expand_ratio": 6}
            for depth in depths
        ]
        del stages[0]["expand_ratio"]
        shared = {"block": "inverted", "stem_width_ratio": ratio, "last_channels": 160}
        found[f"mobilenet{ratio}"] = _chain(_space("search_spaces.mobile:space", task), stages, shared)
    for name, (widths, depths) in SHUFFLE.items():
        stages = [
            {"channels": width, "depth": depth, "kernel_size": 3}
            for width, depth in zip(widths, depths, strict=True)
        ]
        shared = {"block": "v2", "stem_channels": 16, "last_channels": 256}
        found[f"shufflenet{name}"] = _chain(_space("search_spaces.shuffle:space", task), stages, shared)
    return found if task.seeds > 1 else dict([*found.items()][:1])


def _chain(space: SearchSpace, stages: list[dict[str, Any]], shared: Mapping[str, Any]) -> Architecture:
    choices = {
        f"stage{at}.{name}": option for at, stage in enumerate(stages) for name, option in stage.items()
    }
    exits = {f"exit{at}": "none" for at in range(len(stages) - 1)}
    return space.architecture({**choices, **exits, **shared, "downsampling": "spread"})
