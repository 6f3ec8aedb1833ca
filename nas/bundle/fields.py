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
    "texts",
    "value",
]

_KINDS: dict[type, str] = {
    bool: "true or false",
    dict: "an object",
    int: "a whole number",
    list: "a list",
    str: "text",
}
_T = TypeVar("_T")


def broken(where: str, rule: str) -> BundleError:
    """The error for a `rule` that does not hold: "have … but has …"."""
    return BundleError(f"{where} must {rule}; export the bundle again")


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
        raise broken(where, f"be an object, but got {_short(record)}")
    if key not in record:
        raise broken(where, f"have the key {key!r}, but has only {sorted(record)}")
    return record[key]


def field(record: object, key: str, kind: type[_T], where: str) -> _T:
    """What stands under `key`, exactly of that kind: true is no number."""
    found = value(record, key, where)
    if type(found) is not kind:
        raise broken(f"{where}.{key}", f"be {_KINDS[kind]}, but got {_short(found)}")
    return found


def count(record: object, key: str, where: str) -> int:
    """The whole number under `key`, not below 0."""
    found = field(record, key, int, where)
    if found < 0:
        raise broken(f"{where}.{key}", f"not be below 0, but got {found}")
    return found


def number(record: object, key: str, where: str, high: float = math.inf) -> float:
    """The finite number under `key`, from 0 to `high`."""
    return _finite(value(record, key, where), f"{where}.{key}", high)


def optional_number(record: object, key: str, where: str) -> float | None:
    """As `number`, or null."""
    return None if value(record, key, where) is None else number(record, key, where)


def numbers(record: object, key: str, where: str) -> tuple[float, ...]:
    """The list of finite numbers under `key`, none below 0."""
    return tuple(_finite(item, f"{where}.{key}", math.inf) for item in field(record, key, list, where))


def moment(record: object, key: str, where: str) -> datetime:
    """The date and time under `key`, which must say its offset from UTC."""
    text = field(record, key, str, where)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        example = "such as 2026-01-31T12:00:00+00:00"
        raise broken(f"{where}.{key}", f"be a date and time {example}, but got {_short(text)}")
    return found


def texts(record: object, key: str, where: str) -> tuple[str, ...]:
    """The list of different texts under `key`, at least one."""
    found = field(record, key, list, where)
    if not found or not all(type(item) is str for item in found) or len(set(found)) < len(found):
        raise broken(f"{where}.{key}", f"be a list of one or more different texts, but got {_short(found)}")
    return tuple(found)


def _finite(found: Any, where: str, high: float) -> float:
    if type(found) not in (int, float) or not 0 <= found <= min(high, 1e300):
        span = f"from 0 to {high}" if high < math.inf else "not below 0"
        raise broken(where, f"be a finite number {span}, but got {_short(found)}")
    return float(found)


def _short(found: object) -> str:
    shown = repr(found)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
