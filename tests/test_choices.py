"""Holds that all architectures of a space are found, each once."""

from nas.layers import conv, global_avg_pool, linear
from nas.net import Feature, Net
from nas.op import Shape
from nas.space import SearchSpace


def head(x: Feature, num_classes: int) -> Feature:
    return linear(global_avg_pool(x), num_classes)


def test_all_architectures_of_a_space() -> None:
    def build(net: Net, input_shape: Shape = (1, 6, 6), num_classes: int = 3) -> None:
        x = conv(net.input(input_shape), net.choice("width", 4, 8))
        if net.choice("wider", False, True):
            x = conv(x, 16, kernel_size=net.choice("kernel_size", 1, 3, 5))
        net.exit(head, x, num_classes=num_classes)

    small = SearchSpace(build, "user:small")
    found = [dict(architecture.choices) for architecture in small.architectures()]
    narrow = [{"width": width, "wider": False} for width in (4, 8)]
    wider = [
        {"width": width, "wider": True, "kernel_size": kernel} for width in (4, 8) for kernel in (1, 3, 5)
    ]
    assert sorted(found, key=repr) == sorted(narrow + wider, key=repr)
