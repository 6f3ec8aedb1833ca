"""What tells a search how long networks run: a target, what is known of it, and how it is asked."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from nas.cli.calibrate import measuring
from nas.cli.job import CALIBRATION_FILE, Job
from nas.cli.output import say
from nas.errors import StudyError

if TYPE_CHECKING:
    from nas.latency import Calibration, Target
    from nas.search.judge import MeasureFunction
    from nas.space import SearchSpace

__all__ = ["Clock", "measuring_by"]


@final
@dataclass(frozen=True)
class Clock:
    """What tells a search how long networks run."""

    target: Target
    calibration: Calibration
    is_fresh: bool

    @staticmethod
    def of(arguments: Namespace, job: Job, space: SearchSpace) -> Clock:
        """The calibration given or kept in the run folder, else a new one."""
        from nas.latency import Calibration, open_target

        target = open_target(job.target, threads=job.threads, tell=say)
        kept = arguments.out / CALIBRATION_FILE
        path = arguments.calibration or (kept if kept.exists() else None)
        if path is None:
            *_, measured = measuring(space, target, seconds=arguments.calibrate)
            return Clock(target, Calibration.of(space, target.identity, measured), is_fresh=True)
        calibration = Calibration.load(path)
        # On a cluster another machine measures, and says which it is when it does.
        calibration.check(space, None if arguments.ray is not None else target.identity)
        compared = job.anytime_metric == "latency_ms" and kept.exists()
        if compared and path.read_bytes() != kept.read_bytes():
            raise StudyError(
                "a search by milliseconds of exits must keep the calibration that they are compared by, but "
                f"got {path}; leave it out, or search in another folder"
            )
        return Clock(target, calibration, is_fresh=False)

    def save(self, folder: Path) -> None:
        """Keep the calibration in the run folder, unless one is there."""
        if not (folder / CALIBRATION_FILE).exists():
            self.calibration.save(folder / CALIBRATION_FILE)


def measuring_by(clock: Clock, job: Job, on_cluster: bool) -> MeasureFunction:
    """What measures a network: this process, or where a cluster has the target."""
    from nas.latency import MeasuredLatency, open_target

    if not on_cluster:
        return MeasuredLatency(clock.target)
    from nas.search.cluster import ClusterMeasure

    return ClusterMeasure(
        lambda: MeasuredLatency(open_target(job.target, threads=job.threads)), clock.calibration.target
    )
