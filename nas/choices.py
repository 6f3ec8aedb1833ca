"""What a search space asks, and who answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from threading import Lock
from typing import Any, Generic, TypeVar, final

from nas.errors import SpaceError

__all__ = ["Answer", "AnswerTree", "Option", "answers_from", "check_options", "every_answer"]

Option = str | int | float | bool | None
Answer = Callable[[str, Sequence[Option]], Option]
"""Answers one choice, given its name and options; `optuna.Trial.suggest_categorical` is one."""

_Asked = tuple[str, Sequence[Option], Option]  # a choice, its options, and the answer
T = TypeVar("T")

_MOST_STEPS = 50_000  # that are remembered: some 25 MB
_OPTION_TYPES = "strings, numbers, booleans or None"


def check_options(name: str, options: tuple[Option, ...]) -> None:
    """Raise `SpaceError` unless the options of the choice `name` can be told apart and stored."""
    try:
        _check_options(name, options)
    except TypeError:  # unhashable: a list of options in place of options
        raise SpaceError(f"options must be {_OPTION_TYPES}, but choice {name!r} has {options}") from None


def answers_from(choices: Mapping[str, Option]) -> Answer:
    """Answers taken from stored choices; a name that is not stored is an error."""

    def answer(name: str, options: Sequence[Option]) -> Option:
        if name not in choices:
            raise SpaceError(
                f"choice {name!r} must be given, but it is missing; options are {tuple(options)}"
            )
        return choices[name]

    return answer


@final
class AnswerTree(Generic[T]):
    """What answers led to: who asks the same again is told without anything being built.

    What is asked next follows from the answers so far, so these are a path from the first question to what
    they led to. When too many steps are known, all are forgotten. Threads may share it; another process
    gets an empty one.
    """

    def __init__(self) -> None:
        self._known = _Known[T]()
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return AnswerTree, ()

    def resolve(self, answer: Answer, build: Callable[[Answer], T]) -> T:
        """What these answers lead to, built with them if need be; each question is asked once."""
        known = self._known
        given: list[Option] = []
        place: int | None = 0
        while place in known.questions:
            name, options = known.questions[place]
            option = answer(name, options)
            given.append(option)
            try:
                place = known.steps.get((place, type(option), option))
            except TypeError:  # no option at all, which whoever builds will say
                break
        else:
            if place in known.ends:
                return known.ends[place]
        return self._built(given, answer, build)

    def _built(self, given: Sequence[Option], answer: Answer, build: Callable[[Answer], T]) -> T:
        asked: list[_Asked] = []

        def reply(name: str, options: Sequence[Option]) -> Option:
            option = given[len(asked)] if len(asked) < len(given) else answer(name, options)
            asked.append((name, options, option))
            return option

        built = build(reply)
        with self._lock:
            if len(self._known.steps) > _MOST_STEPS:
                self._known = _Known()
            self._known.keep(asked, built)
        return built


@final
class _Known(Generic[T]):
    """What is asked at each place of a tree of answers, and what is at the ends of its branches."""

    def __init__(self) -> None:
        self.questions: dict[int | None, tuple[str, Sequence[Option]]] = {}
        self.steps: dict[tuple[int | None, type, Option], int] = {}
        self.ends: dict[int | None, T] = {}

    def keep(self, asked: Sequence[_Asked], end: T) -> None:
        place = 0
        for name, options, option in asked:
            self.questions.setdefault(place, (name, options))
            place = self.steps.setdefault((place, type(option), option), len(self.steps) + 1)
        self.ends[place] = end


def every_answer() -> Iterator[Answer]:
    """Answers that go through all combinations of options, one for each run that asks for its choices.

    A run takes the first option of each choice that is open, and leaves the others for later runs.
    """
    open_ends: list[dict[str, Option]] = [{}]
    while open_ends:
        decided = open_ends.pop()

        def answer(name: str, options: Sequence[Option], decided: dict[str, Option] = decided) -> Option:
            if name not in decided:
                open_ends.extend({**decided, name: option} for option in options[1:])
                decided[name] = options[0]
            return decided[name]

        yield answer


@lru_cache(maxsize=1 << 12, typed=True)
def _check_options(name: str, options: tuple[Option, ...]) -> None:
    if not options:
        raise SpaceError(f"a choice must have options, but {name!r} has none")
    if len(set(options)) < len(options):
        raise SpaceError(f"options must differ, but choice {name!r} has {options}")
    if any(option is not None and not isinstance(option, str | int | float) for option in options):
        raise SpaceError(f"options must be {_OPTION_TYPES}, but choice {name!r} has {options}")
