"""How a search space writes a network: symbolic features, blocks, choices and exits.

A `Net` is handed to a build function, which turns features into features with the functions of `nas.layers`
and with blocks of its own, asks `net.choice(name, *options)` where the network may vary, and closes each
exit with `net.exit`.

A `@block` is remembered: called again with equal settings on features of equal shape, the layers it wrote
are copied instead of written anew. That is what lets a search ask the cost of thousands of networks a
second, and it changes no result.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar, final

from nas.chains import Chain
from nas.choices import Answer, Option, check_options
from nas.errors import SpaceError
from nas.fragments import Fragment, Mark
from nas.graph import Graph
from nas.op import Layer, Op, Shape
from nas.ops import Add, Input, Multiply, Normalize

__all__ = ["Feature", "Net", "block"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=Option)

_MOST_FRAGMENTS = 1 << 17  # remembered blocks before the memory is emptied: some 100 MB


@final
class Feature:
    """A symbolic tensor of one image. `x + y` adds, `x * gate` gates."""

    __slots__ = ("index", "net", "shape")

    def __init__(self, net: Net, index: int, shape: Shape) -> None:
        self.net = net
        self.index = index
        self.shape = shape

    @property
    def channels(self) -> int:
        return self.shape[0]

    def __add__(self, other: Feature) -> Feature:
        return self.net.apply(Add(), self, other, name="add")

    def __mul__(self, gate: Feature) -> Feature:
        return self.net.apply(Multiply(), self, gate, name="multiply")

    def __repr__(self) -> str:
        return f"Feature{self.shape}"


@final
class Net:
    """A network being written: a `SearchSpace` makes it, answers its choices and takes its graph."""

    def __init__(self, answer: Answer, memory: dict[object, Fragment] | None = None) -> None:
        self.choices: dict[str, Option] = {}
        self._answer = answer
        self._memory = {} if memory is None else memory
        self._chains: list[Chain] = []
        self._size = 0
        self._names: list[str] = []
        self._heads: list[range] = []
        self._classes: Shape | None = None
        self._prefix = ""
        self._taken: dict[str, int] = {}

    def input(self, shape: Shape) -> Feature:
        """The image, raw bytes `(C, H, W)`, as a float feature: normalized by mean and deviation."""
        if self._size:
            raise SpaceError("a network must have one input, but net.input was called twice")
        return self.apply(Normalize(), self.apply(Input(tuple(shape)), name="image"), name="normalize")

    def choice(self, name: str, *options: T) -> T:
        """One of the options, decided by whoever runs the build function; named behind the open scopes."""
        name = self._prefix + name
        if name in self.choices:
            raise SpaceError(
                f"choices must have different names, but {name!r} is asked twice; open a scope around each"
            )
        check_options(name, options)
        answer: Any = self._answer(name, options)
        try:
            chosen = options[options.index(answer)]  # 3 where a file says 3.0
        except ValueError:
            raise SpaceError(f"choice {name!r} must be one of {options}, but got {answer!r}") from None
        self.choices[name] = chosen
        return chosen

    def scope(self, name: str) -> Scope:
        """A context in which names of choices and layers begin with `name.`"""
        return Scope(self, name)

    def apply(self, op: Op, *features: Feature, name: str) -> Feature:
        """Write one operation; the result is the new feature."""
        position = self._size
        layer = Layer.of(op, tuple([feature.shape for feature in features]))
        backs = tuple([position - feature.index for feature in features])
        for feature in features:
            if feature.net is not self:
                raise SpaceError(f"features must belong to one net, but {name!r} reads one of another net")
        self._chains.append(Chain.of(layer, backs))
        self._size += 1
        self._names.append(self._prefix + self._free_name(name))
        return Feature(self, position, layer.shape)

    def exit(
        self, head: Callable[..., Feature], *features: Feature, name: str = "exit", **settings: Any
    ) -> Feature:
        """Close an exit: `head(*features, **settings)` writes its classifier and gives the logits `(K,)`."""
        start = self._size
        with self.scope(self._free_name(name)):
            logits = head(*features, **settings)
        own = isinstance(logits, Feature) and logits.net is self and logits.index >= start
        if not own or len(logits.shape) != 1:
            raise SpaceError(f"a head must write layers that end in logits (K,), but it gives {logits}")
        if self._classes not in (None, logits.shape):
            raise SpaceError(
                f"exits must have equally many classes, but got {self._classes} and {logits.shape}"
            )
        self._classes = logits.shape
        self._heads.append(range(start, logits.index + 1))
        return logits

    def graph(self) -> Graph:
        """The network as written so far, without the nodes that no exit needs."""
        if not self._heads:
            raise SpaceError("a network must have at least one exit, but it has none; close it with net.exit")
        return Graph(self._chains, self._heads, self._names)

    def _free_name(self, name: str) -> str:
        """The name itself the first time in a scope, then with a number."""
        key = self._prefix + name
        times = self._taken.get(key, 0)
        self._taken[key] = times + 1
        return f"{name}_{times}" if times else name

    def _replay(self, fragment: Fragment, name: str) -> Any:
        start = self._size
        self._chains.extend(fragment.chains)
        self._size += fragment.size
        scope = f"{self._prefix}{self._free_name(name)}."
        self._names.extend([scope + layer for layer in fragment.names])
        results = [Feature(self, start + index, shape) for index, shape in fragment.results]
        return results[0] if fragment.single else tuple(results)

    def _record(self, start: Mark, result: object, prefix: str) -> Fragment | None:
        """The fragment written since `start`; None where it cannot be copied to another place."""
        if (len(self.choices), len(self._heads)) != (start.choices, start.heads):
            return None
        single = isinstance(result, Feature)
        features = (result,) if single else result
        if not isinstance(features, tuple) or not all(isinstance(feature, Feature) for feature in features):
            return None
        results = tuple([(feature.index - start.size, feature.shape) for feature in features])
        names = tuple([name[len(prefix) :] for name in self._names[start.size :]])
        return Fragment(tuple(self._chains[start.chains :]), self._size - start.size, names, results, single)

    def _mark(self) -> Mark:
        return Mark(self._size, len(self._chains), len(self.choices), len(self._heads))


@final
class Scope:
    """Puts `name.` before the names given inside a `with`."""

    __slots__ = ("_before", "_inside", "_net")

    def __init__(self, net: Net, name: str) -> None:
        self._net = net
        self._before = net._prefix
        self._inside = f"{net._prefix}{name}."

    def __enter__(self) -> None:
        self._net._prefix = self._inside

    def __exit__(self, *error: object) -> None:
        self._net._prefix = self._before


def block(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function from features to features a block, whose equal calls are remembered.

    Features come as positional arguments (singly or in a tuple), settings must be hashable. The scope is
    named by the keyword `name`, which the function declares with a default, or else by the function.
    Choices may be asked inside; such a block runs every time.
    """
    declared = inspect.signature(function).parameters.get("name")
    default = function.__name__ if declared is None else declared.default

    @wraps(function)
    def placed(*args: P.args, **kwargs: P.kwargs) -> R:
        name: Any = kwargs.pop("name", default)
        net, places, settings = _split(args)
        key = (function, places, settings, tuple(kwargs.items()))
        try:
            fragment = net._memory.get(key)
        except TypeError:
            raise SpaceError(f"settings must be hashable, but {name!r} got {key[2:]}; use tuples") from None
        if fragment is not None:
            if not fragment.folded:
                fragment = net._memory[key] = fragment.fold()
            copied: R = net._replay(fragment, name)
            return copied
        mark = net._mark()
        scope = Scope(net, net._free_name(name))
        # A remembered block does not tell which names it takes, so one that runs does not either.
        taken, net._taken = net._taken, {}
        with scope:
            result = function(*args, **kwargs)
        net._taken = taken
        fragment = net._record(mark, result, scope._inside)
        if fragment is not None and _reads_only(fragment, places[::2]):
            if len(net._memory) >= _MOST_FRAGMENTS:
                net._memory.clear()
            net._memory[key] = fragment
        return result

    return placed


def _split(args: Sequence[Any]) -> tuple[Net, tuple[Any, ...], tuple[object, ...]]:
    """A block call's net; in turn, how far back each feature stands and its shape; the other arguments."""
    net: Net | None = None
    places: list[int | Shape] = []
    settings: list[object] = []
    for arg in args:
        if type(arg) is Feature:
            features: tuple[Feature, ...] = (arg,)
            settings.append(...)  # stands for a feature
        elif type(arg) is tuple and arg and type(arg[0]) is Feature:
            features = arg
            settings.append((..., len(arg)))
        else:
            settings.append(arg)
            continue
        for feature in features:
            net = net or feature.net
            if feature.net is not net:
                raise SpaceError(f"features must belong to one net, but a block got {features} of several")
            places += (net._size - feature.index, feature.shape)
    if net is None:
        raise SpaceError("a block must be given a feature as positional argument, but got none")
    return net, tuple(places), tuple(settings)


def _reads_only(fragment: Fragment, allowed: Sequence[int]) -> bool:
    """Whether a fragment reads nothing outside but its inputs: a feature captured otherwise cannot move."""
    start = 0
    for chain in fragment.chains:
        if any(back > start and back - start not in allowed for back in chain.backs):
            return False
        start += chain.length
    return all(index >= 0 or -index in allowed for index, _ in fragment.results)
