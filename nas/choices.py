"""What a search space asks, and who answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

from nas.errors import SpaceError

__all__ = ["Answer", "Option", "answers_from", "check_options", "every_answer"]

Option = str | int | float | bool | None
Answer = Callable[[str, Sequence[Option]], Option]
"""Answers one choice, given its name and options; `optuna.Trial.suggest_categorical` is one."""

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
