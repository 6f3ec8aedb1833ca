"""Who takes part: the searched network with its exits, MSDNet, and networks trained for one budget each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

from dynamic_data import Task
from dynamic_search import best_dynamic, best_static, calibrated, space_of

from nas import Architecture, Candidate, SearchSpace, load_space
from nas.train import TrainConfig

__all__ = ["OPTIONS", "OWN", "Training", "level_exits", "trainings"]

SEEDS = 3
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
    weight: float = field(default=1.0, compare=False)
    """About how long it takes, so that long ones are begun first."""

    @property
    def name(self) -> str:
        return f"{self.system}-{self.seed}"


def trainings(task: Task, folder: Path) -> Iterator[Training]:
    """All of them; the searches must have ended."""
    own, recipe = best_dynamic(folder), task.recipe
    for seed in range(SEEDS):
        yield Training("msdnet", seed, _msdnet(task, REDUCED), _seeded(recipe, seed))
        yield Training("ours", seed, own, _seeded(recipe, seed, OWN))
        for level, architecture in enumerate(_levels(task, folder)):
            yield Training(f"static{level}", seed, architecture, _seeded(recipe, seed))
    if OPTIONS[OWN]:
        yield Training("msdnet-ours", 0, _msdnet(task, REDUCED), _seeded(recipe, 0, OWN))
    short = replace(recipe, epochs=2 if task.name == "fashion" else recipe.epochs)
    if task.name == "fashion":
        yield Training("lin_grow", 0, _msdnet(task, LIN_GROW), short)
    else:
        yield Training("official", 0, _msdnet(task, OFFICIAL), recipe)
    for option in OPTIONS:
        if option != OWN:
            teacher = TEACHER if option == "teacher" else None
            yield Training(option, 0, own, _seeded(recipe, 0, option), teacher)
    for name, architecture in _peers(task).items():
        yield Training(name, 0, architecture, recipe)
