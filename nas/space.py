"""Search spaces: a build function, the input and classes it builds for, and the architectures in it."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from types import ModuleType
from typing import Any, cast, final

from nas.choices import Answer, AnswerTree, Option, answers_from, every_answer
from nas.errors import NasError, SpaceError
from nas.fragments import Fragment
from nas.graph import Graph
from nas.net import Net
from nas.op import Shape

__all__ = ["Architecture", "Candidate", "SearchSpace", "load_space"]

Build = Callable[[Net, Shape, int], None]

_RECENT_GRAPHS = 64


@final
@dataclass(frozen=True)
class Architecture:
    """A point of a search space: the space's name, the answer to every choice, and what it was built for."""

    space: str
    choices: tuple[tuple[str, Option], ...]
    input_shape: Shape
    num_classes: int
    id: str
    """The canonical id of its graph: equal for architectures that build the same network."""

    def to_json(self) -> dict[str, Any]:
        return {
            "space": self.space,
            "choices": dict(self.choices),
            "input_shape": list(self.input_shape),
            "num_classes": self.num_classes,
            "id": self.id,
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Architecture:
        try:
            architecture = Architecture(
                space=values["space"],
                choices=tuple(values["choices"].items()),
                input_shape=tuple(values["input_shape"]),
                num_classes=values["num_classes"],
                id=values["id"],
            )
            hash(architecture)  # a TypeError where a list stands in place of an option
        except (KeyError, TypeError, AttributeError) as error:
            raise SpaceError(
                f"an architecture must have space, choices, input_shape, num_classes, id: {error!r}"
            ) from None
        return architecture


@final
class SearchSpace:
    """All networks that a build function can write, for one input shape and number of classes.

    >>> from random import Random
    >>> from search_spaces.mobile import space
    >>> architecture = space.at((1, 28, 28), 10).sample(Random(0))
    >>> architecture.space
    'search_spaces.mobile:space'
    """

    def __init__(self, build: Callable[..., None], name: str | None = None) -> None:
        parameters = inspect.signature(build).parameters
        self._build: Build = cast(Build, build)
        self._name = name
        self._memory: dict[object, Fragment] = {}
        self._recent: OrderedDict[tuple[tuple[str, Option], ...], Graph] = OrderedDict()
        self._known = AnswerTree[Architecture]()
        self.input_shape = _checked_shape(_default(parameters, "input_shape", (3, 32, 32)))
        self.num_classes = _checked_classes(_default(parameters, "num_classes", 10))

    @property
    def name(self) -> str:
        """`module:attribute`, by which the command line and stored architectures find the space again."""
        if self._name is None:
            self._name = self._find_name()
        if self._name is None:
            raise SpaceError(
                f"a space must be found by its name, but no module has the space of {self._build!r}; "
                "assign it at the top of a module or give name="
            )
        return self._name

    def at(self, input_shape: Shape, num_classes: int) -> SearchSpace:
        """The same space for other data: images `(C, H, W)` and a number of classes."""
        space = SearchSpace(self._build, self._name)
        space._memory = self._memory
        space.input_shape, space.num_classes = _checked_shape(input_shape), _checked_classes(num_classes)
        return space

    def __getstate__(self) -> dict[str, object]:
        """Without what it remembers."""
        return vars(self) | {"_name": self.name, "_memory": {}, "_recent": OrderedDict()}

    def resolve(self, answer: Answer) -> Architecture:
        """The architecture that these answers give; `optuna.Trial.suggest_categorical` is an answer."""
        return self._known.resolve(answer, lambda answer: self._write(answer)[0])

    def candidate(self, answer: Answer) -> Candidate:
        """As `resolve`, together with the graph that was built on the way."""
        return Candidate(self, *self._write(answer))

    def architecture(self, choices: Mapping[str, Option]) -> Architecture:
        """The architecture with exactly these choices; missing, unknown and impossible ones are errors."""
        architecture = self.resolve(answers_from(choices))
        unused = sorted(set(choices) - {name for name, _ in architecture.choices})
        if unused:
            raise SpaceError(
                f"choices must be asked by the space, but {self.name} does not ask {unused}; remove them"
            )
        return architecture

    def sample(self, rng: Random) -> Architecture:
        """An architecture drawn by giving every option of a choice the same chance."""
        return self.resolve(lambda name, options: rng.choice(options))

    def architectures(self) -> Iterator[Architecture]:
        """All of them, those that build the same network too; for spaces of up to some 100,000."""
        return map(self.resolve, every_answer())

    def mutate(self, architecture: Architecture, rng: Random) -> Architecture:
        """A neighbor: one choice is changed, and choices that arise from it are drawn at random."""
        known = dict(architecture.choices)
        untried = list(known)
        while untried:
            changed = untried.pop(rng.randrange(len(untried)))
            neighbor = self.resolve(_mutation(known, changed, rng))
            if neighbor.choices != architecture.choices:
                return neighbor
        raise SpaceError(f"a space must have a choice to be mutated, but {self.name} has one network only")

    def graph(self, architecture: Architecture) -> Graph:
        """The network of an architecture of this space, for the shape and classes it was made for."""
        graph = self._recent.get(architecture.choices)
        if graph is not None and graph.id == architecture.id:
            return graph
        if (architecture.input_shape, architecture.num_classes) != (self.input_shape, self.num_classes):
            return self.at(architecture.input_shape, architecture.num_classes).graph(architecture)
        built, graph = self._write(answers_from(dict(architecture.choices)))
        if built.id != architecture.id:
            raise SpaceError(
                f"{architecture.space} must build network {architecture.id}, but it builds {built.id}: "
                "the space's code has changed since the architecture was stored"
            )
        return graph

    def _write(self, answer: Answer) -> tuple[Architecture, Graph]:
        net = Net(answer, self._memory)
        self._build(net, self.input_shape, self.num_classes)
        graph = net.graph()
        wanted, built = (self.input_shape, self.num_classes), (graph.input_shape, graph.num_classes)
        if built != wanted:
            raise SpaceError(
                f"a network must be built for (input_shape, num_classes) {wanted}, but {self.name} "
                f"builds one for {built}; use both in its build function"
            )
        choices = tuple(net.choices.items())
        self._recent[choices] = graph
        if len(self._recent) > _RECENT_GRAPHS:
            self._recent.popitem(last=False)
        return Architecture(self.name, choices, self.input_shape, self.num_classes, graph.id), graph

    def _find_name(self) -> str | None:
        """Where a module has a space of the same build function; the function's own module is asked first."""
        build = self._build.func if isinstance(self._build, partial) else self._build
        for module in dict.fromkeys((build.__module__, *sys.modules)):
            for key, value in tuple(getattr(sys.modules.get(module), "__dict__", {}).items()):
                if type(value) is SearchSpace and value._build is self._build:
                    return f"{module}:{key}"
        return None

    def __repr__(self) -> str:
        name = self._name or self._find_name() or repr(self._build)
        return f"SearchSpace({name}, input_shape={self.input_shape}, num_classes={self.num_classes})"


@final
class Candidate:
    """A network that a search may evaluate: its architecture, and its graph, built when first asked for.

    `seed` is what a training of it should draw from.
    """

    __slots__ = ("_graph", "_space", "architecture", "seed")

    def __init__(
        self, space: SearchSpace, architecture: Architecture, graph: Graph | None = None, *, seed: int = 0
    ) -> None:
        self._space = space
        self.architecture = architecture
        self.seed = seed
        self._graph = graph

    @property
    def id(self) -> str:
        return self.architecture.id

    @property
    def graph(self) -> Graph:
        if self._graph is None:
            self._graph = self._space.graph(self.architecture)
        return self._graph


def load_space(name: str) -> SearchSpace | Architecture:
    """What `module:attribute` names: a search space, or a fixed architecture (a published network)."""
    module_name, _, attribute = name.partition(":")
    if not module_name or module_name.startswith(".") or not attribute:
        raise SpaceError(
            f"a space must be named module:attribute, but got {name!r}; try search_spaces.mobile:space"
        )
    module = _import(module_name)
    value = getattr(module, attribute, None)
    if not isinstance(value, SearchSpace | Architecture):
        known = [key for key, found in vars(module).items() if isinstance(found, SearchSpace | Architecture)]
        raise SpaceError(
            f"{module_name} must have a space {attribute!r}, but it has {', '.join(sorted(known)) or 'none'}"
        )
    return value


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except NasError:
        raise
    except Exception as error:  # a module may raise anything
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise SpaceError(
                f"a space must be in an importable module, but {name!r} is not; check the name"
            ) from None
        raise SpaceError(
            f"the module of a space must import without error, but {name!r} raises {type(error).__name__}: "
            f"{error}; correct it or install what it needs"
        ) from error


def _mutation(known: Mapping[str, Any], changed: str, rng: Random) -> Answer:
    def answer(name: str, options: Sequence[Option]) -> Option:
        stored: Option = known.get(name, _ABSENT)
        if name == changed and len(options) > 1:
            return rng.choice([option for option in options if option != stored])
        return stored if stored in options else rng.choice(options)

    return answer


_ABSENT = object()


def _default(parameters: Mapping[str, inspect.Parameter], name: str, otherwise: Any) -> Any:
    parameter = parameters.get(name)
    return (
        otherwise if parameter is None or parameter.default is inspect.Parameter.empty else parameter.default
    )


def _checked_shape(shape: Any) -> Shape:
    if not isinstance(shape, tuple | list) or len(shape) != 3 or not all(map(_is_positive, shape)):
        raise SpaceError(
            f"an input shape must be three positive integers (C, H, W), but got {shape!r}; give such a shape"
        )
    return tuple(shape)


def _checked_classes(count: Any) -> int:
    if not _is_positive(count):
        raise SpaceError(f"num_classes must be a positive integer, but got {count!r}; give such a number")
    return int(count)


def _is_positive(value: object) -> bool:
    return type(value) is int and value > 0  # True is no number here
