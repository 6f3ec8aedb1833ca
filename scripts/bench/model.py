"""`Model(graph)` beside a hand-written module of the same MobileNetV2-like network, in milliseconds."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from record import Record
from torch import Tensor, nn

from nas.layers import activation, batch_norm, conv, dropout, global_avg_pool, linear
from nas.model import Model
from nas.net import Feature, Net
from nas.space import SearchSpace

CLASSES = 10
STEM, LAST = 16, 640
# expand_ratio, channels, blocks, stride: MobileNetV2 at half width, strides fit for 32×32 images
STAGES = (
    (1, 8, 1, 1),
    (6, 16, 2, 1),
    (6, 16, 3, 2),
    (6, 32, 4, 2),
    (6, 48, 3, 1),
    (6, 80, 3, 2),
    (6, 160, 1, 1),
)
BATCHES = (1, 64)


def conv_norm_relu6(in_channels: int, out_channels: int, kernel_size: int, **settings: int) -> nn.Sequential:
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False, **settings
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int, expand_ratio: int) -> None:
        super().__init__()
        hidden = in_channels * expand_ratio
        self.residual = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            *([conv_norm_relu6(in_channels, hidden, 1)] if expand_ratio > 1 else []),
            conv_norm_relu6(hidden, hidden, 3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class HandWritten(nn.Module):
    """The network as one writes it in torch."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 127.5))
        self.register_buffer("std", torch.full((1, 3, 1, 1), 127.5))
        layers: list[nn.Module] = [conv_norm_relu6(3, STEM, 3)]
        channels = STEM
        for expand_ratio, width, blocks, stride in STAGES:
            for block in range(blocks):
                layers.append(InvertedResidual(channels, width, 1 if block else stride, expand_ratio))
                channels = width
        self.features = nn.Sequential(*layers, conv_norm_relu6(channels, LAST, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(LAST, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        x = (x.to(torch.float32, memory_format=torch.channels_last) - self.mean) / self.std
        return self.classifier(self.features(x).mean((2, 3)))


def build(net: Net, input_shape: tuple[int, ...] = (3, 32, 32), num_classes: int = CLASSES) -> None:
    x = net.input(input_shape)
    x = activation(batch_norm(conv(x, STEM, kernel_size=3)), "relu6")
    for expand_ratio, width, blocks, stride in STAGES:
        for block in range(blocks):
            y = inverted_residual(x, width, 1 if block else stride, expand_ratio)
            x = x + y if y.shape == x.shape else y
    net.exit(head, x, num_classes)


def inverted_residual(x: Feature, out_channels: int, stride: int, expand_ratio: int) -> Feature:
    hidden = x.channels * expand_ratio
    if expand_ratio > 1:
        x = activation(batch_norm(conv(x, hidden)), "relu6")
    x = activation(batch_norm(conv(x, hidden, kernel_size=3, stride=stride, groups=hidden)), "relu6")
    return batch_norm(conv(x, out_channels))


def head(x: Feature, num_classes: int) -> Feature:
    x = global_avg_pool(activation(batch_norm(conv(x, LAST)), "relu6"))
    return linear(dropout(x), num_classes)


def networks() -> dict[str, nn.Module]:
    """Both forms of the network, with equal weights and, which is checked, equal logits."""
    space = SearchSpace(build, name="bench:mobile")
    model = Model(space.graph(space.sample(random.Random(0))))
    hand = HandWritten().to(memory_format=torch.channels_last)
    mine = [value for key, value in model.state_dict().items() if not key.startswith("normalize")]
    theirs = [value for key, value in hand.state_dict().items() if key not in ("mean", "std")]
    for source, target in zip(mine, theirs, strict=True):
        target.copy_(source)
    x = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(model.eval()(x)[0], hand.eval()(x))
    return {"graph": model, "hand": hand}


def task(module: nn.Module, batch: int, kind: str) -> Callable[[], object]:
    """One forward pass, or one training step, of a module."""
    x = torch.randint(0, 256, (batch, 3, 32, 32), dtype=torch.uint8)
    y = torch.arange(batch) % CLASSES
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9, fused=True)

    def logits() -> Tensor:
        result = module(x)
        return result[0] if isinstance(result, tuple) else result

    def forward() -> Tensor:
        module.eval()
        with torch.inference_mode():
            return logits()

    def step() -> None:
        module.train()
        optimizer.zero_grad()
        F.cross_entropy(logits(), y).backward()
        optimizer.step()

    return forward if kind == "forward" else step


def measure(modules: dict[str, nn.Module], batch: int, kind: str, seconds: float) -> list[dict[str, float]]:
    """Milliseconds of both modules in each round: as many rounds as fit in `seconds`, at least 5."""
    tasks = {name: task(module, batch, kind) for name, module in modules.items()}
    order = random.Random(batch)
    rounds: list[dict[str, float]] = []
    for run in tasks.values():
        run()
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(rounds) < 5:
        times = {}
        for name in order.sample(sorted(tasks), len(tasks)):
            start = time.perf_counter()
            tasks[name]()
            times[name] = (time.perf_counter() - start) * 1e3
        rounds.append(times)
    return rounds


def plot(ratios: dict[str, list[float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    axes.boxplot(list(ratios.values()), tick_labels=list(ratios), showfliers=False)
    axes.axhline(1.1, color="tab:red", linewidth=1, label="limit")
    axes.axhline(1, color="gray", linewidth=1)
    axes.set_ylabel("Model(graph) / hand-written")
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    record = Record("model", __doc__ or "")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    modules = networks()
    cases = [(kind, batch) for kind in ("forward", "step") for batch in BATCHES]
    done = {(row["kind"], int(row["batch"])) for row in record.rows("rounds.csv")}
    for kind, batch in [case for case in cases if case not in done]:
        for number, times in enumerate(measure(modules, batch, kind, 2 if record.quick else 60)):
            record.add("rounds.csv", {"kind": kind, "batch": batch, "round": number} | times)
    ratios: dict[str, list[float]] = {f"{kind}, batch {batch}": [] for kind, batch in cases}
    for row in record.rows("rounds.csv"):
        ratios[f"{row['kind']}, batch {row['batch']}"].append(float(row["graph"]) / float(row["hand"]))
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    plot(ratios, record.raw / "ratios.png")
    headline = {
        f"{kind}_ratio": round(max(value for name, value in medians.items() if name.startswith(kind)), 3)
        for kind in ("forward", "step")
    }
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in medians.items())
    record.finish(
        headline, f"{NOTES}\n| case | median ratio |\n| --- | --: |\n{rows}\n\n![Ratios](ratios.png)"
    )


NOTES = """
Milliseconds of both forms are in `rounds.csv`: timed turn by turn in random order within each round, one
thread, channels_last both, equal weights, logits checked equal. A ratio is the median over rounds of graph
over hand-written; the figures are the worst over batch 1 and 64.
"""

if __name__ == "__main__":
    main()
