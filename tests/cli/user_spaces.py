"""Spaces such as a user writes: a small one that works, and some that break a rule."""

from nas import Feature, Net, SearchSpace, Shape
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.ops import MaxPool


def head(x: Feature, num_classes: int) -> Feature:
    return linear(global_avg_pool(x), num_classes)


def build(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
    channels = net.choice("channels", 4, 8, 12, 16)
    x = conv_norm_act(net.input(input_shape), channels, kernel_size=3, stride=2, name="stem")
    net.exit(head, x, num_classes)
    x = conv_norm_act(x, 2 * channels, kernel_size=net.choice("kernel_size", 1, 3), name="body")
    net.exit(head, x, num_classes)


def build_doubled(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
    net.choice("width", 4, 8)
    net.choice("width", 4, 8)
    net.exit(head, net.input(input_shape), num_classes)


def build_without_exit(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
    conv_norm_act(net.input(input_shape), net.choice("width", 4, 8))


def build_vanishing(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
    x = net.input(input_shape)
    for step in range(4):
        x = net.apply(MaxPool(kernel_size=2, stride=2), x, name=f"pool{step}")
    net.exit(head, x, num_classes)


def build_exploding(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
    x = conv_norm_act(net.input(input_shape), net.choice("width", 4, 8), name="stem")
    for _ in range(130):  # beyond the largest float32
        x = x + x
    net.exit(head, x, num_classes)


def build_faulty(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
    raise ZeroDivisionError("in the space")


space = SearchSpace(build)
other = SearchSpace(build, "user_spaces:other")
doubled = SearchSpace(build_doubled)
without_exit = SearchSpace(build_without_exit)
vanishing = SearchSpace(build_vanishing)
exploding = SearchSpace(build_exploding)
faulty = SearchSpace(build_faulty)
