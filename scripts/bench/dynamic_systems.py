"""Who takes part: the searched network with its exits, MSDNet, and networks trained for one budget each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

from dynamic_data import Task, digest
from dynamic_search import space_of

from nas import Architecture, SearchSpace
from nas.choices import answers_from
from nas.train import TrainConfig

__all__ = [
    "ALONE",
    "CHOSEN",
    "OPTIONS",
    "OWN",
    "Training",
    "chosen",
    "is_level",
    "is_rival",
    "trainings",
]

CHOSEN = "chosen.json"
"""File of what the searches came to."""
ALONE = "alone"
"""What the systems are called that are our network as far as one of its exits, and none but that."""

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
OWN = "ensemble"
"""The option of the main run: ahead on validation images of Fashion-MNIST, though within error."""
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
    data_hash: str
    teacher: Training | None = None
    """Whose network teaches this one."""

    @property
    def name(self) -> str:
        return f"{self.system}-{self.seed}"

    @property
    def key(self) -> str:
        """Of all that the trained network depends on."""
        teacher = self.teacher.key if self.teacher else None
        told = [self.architecture.id, self.config.to_json(), self.data_hash, teacher]
        return digest(told)

    def place(self, folder: Path) -> Path:
        """Where what it has is kept; that of another network or recipe is somewhere else."""
        return folder / "networks" / self.key

    def done(self, folder: Path) -> Path:
        """What is there once it has ended."""
        return self.place(folder) / "done.json"


def chosen(folder: Path) -> tuple[Architecture, list[Architecture]]:
    """Our network, and those of one budget beside its levels."""
    told = json.loads((folder / CHOSEN).read_text())
    return Architecture.from_json(told["own"]), [Architecture.from_json(level) for level in told["levels"]]


def trainings(task: Task, folder: Path) -> Iterator[Training]:
    """All that may count, the most important first; what the searches came to must be chosen."""
    best, levels = chosen(folder)
    recipe, data = task.recipe, task.data.hash
    rivals = {f"static{level}": network for level, network in enumerate(levels)} | _alone(task, best)
    reduced = _msdnet(task, REDUCED)
    teacher = Training("msdnet", 0, reduced, _seeded(recipe, 0, "plain"), data)

    def by(option: str, system: str, seed: int, network: Architecture) -> Training:
        taught_by = teacher if option == "teacher" else None
        return Training(system, seed, network, _seeded(recipe, seed, option), data, taught_by)

    for seed in range(task.seeds):
        yield by(OWN, "ours", seed, best)
        yield by("plain", "msdnet", seed, reduced)
        for option in _options(task):  # early, for one that wins shall be the main one
            yield by(option, option, seed, best)
        for name, architecture in rivals.items():
            yield by("plain", name, seed, architecture)
    if OPTIONS[OWN]:
        yield by(OWN, "msdnet-ours", 0, reduced)
    for name, architecture in {**_peers(task), **_larger(task)}.items():
        shorter = replace(recipe, epochs=2) if name == "lin_grow" else recipe
        yield Training(name, 0, architecture, shorter, data)


def _alone(task: Task, own: Architecture) -> dict[str, Architecture]:
    """Our network as far as each of its exits, with that exit alone."""
    choices, found = dict(own.choices), {}
    for exit in range(int(choices["passes"])):
        space = space_of("search_spaces.anytime:whole" if exit else "static", task)
        found[f"{ALONE}{exit}"] = space.resolve(answers_from({**choices, "passes": exit + 1}))
    return found


def _options(task: Task) -> list[str]:
    """Those beside the main one; a quick run tries a few only."""
    others = [name for name in OPTIONS if name != OWN]
    return others if task.seeds > 1 else others[-2:]


def _larger(task: Task) -> dict[str, Architecture]:
    """MSDNet at the sizes of its README."""
    recipes = {"fashion": {"lin_grow": LIN_GROW}, "cifar10": {"official": OFFICIAL}}
    return {name: _msdnet(task, recipe) for name, recipe in recipes.get(task.name, {}).items()}


def is_level(system: str) -> bool:
    """Whether it is one of the networks that were sought for a level of ours."""
    return system.startswith("static")


def is_rival(system: str) -> bool:
    """Whether it is one of the networks of one budget from our own space."""
    return is_level(system) or system.startswith(ALONE)


def _seeded(recipe: TrainConfig, seed: int, option: str) -> TrainConfig:
    return replace(recipe, seed=seed, **OPTIONS[option])


def _msdnet(task: Task, recipe: Mapping[str, Any]) -> Architecture:
    return space_of(MSDNET, task).architecture(recipe)


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
        found[f"mobilenet{ratio}"] = _chain(space_of("search_spaces.mobile:space", task), stages, shared)
    for name, (widths, depths) in SHUFFLE.items():
        stages = [
            {"channels": width, "depth": depth, "kernel_size": 3}
            for width, depth in zip(widths, depths, strict=True)
        ]
        shared = {"block": "v2", "stem_channels": 16, "last_channels": 256}
        found[f"shufflenet{name}"] = _chain(space_of("search_spaces.shuffle:space", task), stages, shared)
    return found if task.seeds > 1 else dict([*found.items()][:1])


def _chain(space: SearchSpace, stages: list[dict[str, Any]], shared: Mapping[str, Any]) -> Architecture:
    choices = {
        f"stage{at}.{name}": option for at, stage in enumerate(stages) for name, option in stage.items()
    }
    exits = {f"exit{at}": "none" for at in range(len(stages) - 1)}
    return space.architecture({**choices, **exits, **shared, "downsampling": "spread"})
