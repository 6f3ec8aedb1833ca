"""Read typed values out of parsed JSON; `where` names the object in the sentence that says what is wrong."""

import json
import math
from datetime import datetime
from typing import Any, TypeVar

from nas.errors import BundleError

__all__ = [
    "broken",
    "count",
    "dumped",
    "field",
    "moment",
    "number",
    "numbers",
    "optional_number",
    "parse",
    "short",
    "texts",
    "value",
]

_MOST = 400  # characters of a sentence, for a terminal's few lines
_MOST_COUNT = 2**63 - 1  # what a whole number of other languages holds
_KINDS: dict[type, str] = {
    bool: "true or false",
    dict: "an object",
    int: "a whole number",
    list: "a list",
    str: "text",
}
_T = TypeVar("_T")


def broken(where: str, rule: str, remedy: str = "export the bundle again") -> BundleError:
    """The error for a `rule` that does not hold: "have … but has …".

    Whatever names and values a bundle brings into it, it is one line of some hundred characters at most.
    """
    text = " ".join(f"{where} must {rule}".split())
    if len(text) > _MOST:
        text = f"{text[: _MOST // 2]} … {text[-_MOST // 2 :]}"
    return BundleError(f"{text}; {remedy}")


def parse(text: bytes, where: str) -> Any:
    """The JSON value in `text`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise broken(where, f"be complete JSON, but is not: {error}") from error


def dumped(value: object) -> bytes:
    """The value as JSON."""
    try:
        return json.dumps(value, indent=2, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        rule = "provenance and all else that a bundle says must be plain JSON values"
        raise BundleError(
            f"{rule}, but got: {error}; convert what is not, such as numpy's numbers"
        ) from error


def value(record: object, key: str, where: str) -> Any:
    """What stands under `key`, null included."""
    if not isinstance(record, dict):
        raise broken(where, f"be an object, but got {short(record)}")
    if key not in record:
        raise broken(where, f"have the key {key!r}, but has only {sorted(record)}")
    return record[key]


def field(record: object, key: str, kind: type[_T], where: str) -> _T:
    """What stands under `key`, exactly of that kind: true is no number."""
    found = value(record, key, where)
    if type(found) is not kind:
        raise broken(f"{where}.{key}", f"be {_KINDS[kind]}, but got {short(found)}")
    return found


def count(record: object, key: str, where: str) -> int:
    """The whole number under `key`, from 0 to 2^63 - 1."""
    found = field(record, key, int, where)
    if not 0 <= found <= _MOST_COUNT:
        raise broken(f"{where}.{key}", f"be from 0 to {_MOST_COUNT}, but got {short(found)}")
    return found


def number(record: object, key: str, where: str, high: float = math.inf) -> float:
    """The finite number under `key`, from 0 to `high`."""
    return _finite(value(record, key, where), f"{where}.{key}", high)


def optional_number(record: object, key: str, where: str) -> float | None:
    """As `number`, or null."""
    return None if value(record, key, where) is None else number(record, key, where)


def numbers(record: object, key: str, where: str, low: float = 0.0) -> tuple[float, ...]:
    """The list of finite numbers under `key`, none below `low`."""
    found = field(record, key, list, where)
    return tuple(_finite(item, f"{where}.{key}", math.inf, low) for item in found)


def moment(record: object, key: str, where: str) -> datetime:
    """The date and time under `key`, which must say its offset from UTC."""
    text = field(record, key, str, where)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        example = "such as 2026-01-31T12:00:00+00:00"
        raise broken(f"{where}.{key}", f"be a date and time {example}, but got {short(text)}")
    return found


def texts(record: object, key: str, where: str) -> tuple[str, ...]:
    """The list of different texts under `key`, at least one."""
    found = field(record, key, list, where)
    if not found or not all(type(item) is str for item in found) or len(set(found)) < len(found):
        raise broken(f"{where}.{key}", f"be a list of one or more different texts, but got {short(found)}")
    return tuple(found)


def _finite(found: Any, where: str, high: float, low: float = 0.0) -> float:
    if type(found) not in (int, float) or not max(low, -1e300) <= found <= min(high, 1e300):
        span = f"from {low:g} to {high}" if high < math.inf else f"not below {low:g}"
        raise broken(where, f"be a finite number {span}, but got {short(found)}")
    return float(found)


def short(found: object) -> str:
    """A value for a sentence; `repr` of a huge number would take as long as it is long."""
    if isinstance(found, int) and abs(found) > 10**40:
        return "a huge number"
    shown = repr(found)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
