"""Bundles that really stop: whether they agree, what that costs, and who turns the dial."""

from __future__ import annotations

import runtime_browser
import runtime_fuzz
import runtime_governor
import runtime_int8
import runtime_overhead
import runtime_parity
import runtime_traces
import torch
from record import Record


def collect(record: Record) -> None:
    """What is timed comes first, while nothing else runs; about an hour of one core."""
    runtime_overhead.collect(record, rounds=12, alternations=1000, passes=3)
    runtime_int8.collect(record, epochs=2, images=12_288)
    runtime_parity.collect(record, settings=1000)
    days = (*runtime_traces.TUNED, runtime_traces.UNSEEN)
    runtime_governor.collect(record, names=days, sequences=10_000)
    runtime_fuzz.collect(record, bundles=2000)
    runtime_browser.collect(record, images=100)


def collect_quick(record: Record) -> None:
    runtime_overhead.collect(record, rounds=3, alternations=100, mixed=5)
    runtime_int8.collect(record, epochs=1, images=640)
    runtime_parity.collect(record, settings=50, mixed=3)
    runtime_governor.collect(record, names=("slowdown", "charge"), sequences=500)
    runtime_fuzz.collect(record, bundles=120)
    runtime_browser.collect(record, images=20)


def main() -> None:
    torch.set_num_threads(1)
    record = Record("runtime", __doc__ or "")
    if record.quick:
        collect_quick(record)
    else:
        collect(record)
    days = record.rows(runtime_governor.FILE)
    for name in {row["trace"]: None for row in days}:
        runtime_governor.plot(record, name)
    headline = {
        **runtime_parity.figures(record.rows(runtime_parity.FILE)),
        **runtime_overhead.figures(record),
        **runtime_governor.figures(days),
        **runtime_fuzz.figures(record.rows(runtime_fuzz.FILE)),
        **runtime_browser.figures(record.rows(runtime_browser.FILE)),
    }
    int8 = runtime_int8.markdown(record.rows(runtime_int8.FILE))
    tables = (runtime_overhead.markdown(record), runtime_governor.markdown(days), int8)
    record.finish(headline, "\n\n".join((NOTES.strip(), *tables, PICTURES.strip())))


NOTES = """
`parity.csv`: ten networks of `mixed` from small to large and the official MSDNet with random weights, scaled
such that confidences spread; for each 1,000 random settings of image, greatest exit and thresholds, of which
a fifth are above 1 (not asked). A mismatch is an exit that differs between torch, segments and fused file, or
a logit that is more than 1e-4 apart (`apart` is the most). `behind`: nodes of later trunks and heads that
ONNX Runtime's profiler saw, over all exits.

`overheads.csv`: microseconds of one image, one thread: the least round median of six loads in each of three
passes. `cut` is the exit as one graph cut by hand, `fused` the file that stops by itself, both called with
tied arrays; `staged` is `Runtime.run` with everything that it checks and returns; `part` is what is missing
from the exit before as one graph, run after that exit, and `resume` is `Progress.resume` there. The headline
is the worst level after 10 µs for each exit decided (fused), each session call beyond the first (staged) or
one call (resume).
`switches.csv`: median of the first answer at a level after one at another, less the next answer there;
`reload_us` is what loading the model of the level takes instead. `weights_added` says whether a switch loaded
anything.

`governor.csv`: `traces` are days on a made-up device, with the measured levels of a bundle.
`runtime_traces.py` wrote them before the policies were tuned; units of charge and heat were made finer, and
noise a share of late answers, when the optimum was seen to live on rounding and on luck. `unseen` was
measured but never tuned on; there the governor is hardly better than the best constant level, of which only
hindsight knows that it fits. Regret is
(optimum - accuracy) / (optimum - best constant level); the optimum knows the day beforehand (exact dynamic
programming over charge and heat in whole units). A request that is not answered, or late, counts 0. Misses
just after a sudden change are not counted. `allowed` is what a dwell of 2 s allows. `random_signals.csv`:
sequences of 8 random signals, and how many ended in an exception or an illegal level.

`int8.csv`: one network of each family, trained for two short epochs on Fashion-MNIST; accuracy on validation
images at the last exit. An export keeps int8 only where it is faster.

`fuzz.csv`: mutated bundles opened and run in another process: each must work or be refused by a `BundleError`
of one line; more than 256 MiB beside its files, a touched file elsewhere, a hang or a death is a failure.

`browser.csv`: answers of `nas/web/bundle.js` in headless Chromium beside those of `Runtime`.
"""
PICTURES = """
![A draining battery](governor_drain.png)

![A loose charger](governor_flapping.png)

![Heat](governor_heat.png)

![The page](browser_light.png)
"""

if __name__ == "__main__":
    main()
