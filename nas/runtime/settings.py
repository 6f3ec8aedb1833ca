"""Policies as JSON, so that a bundle, a file or a browser can say how a device is to be governed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from nas.runtime.adaptive import Deadline, EnergyUntil
from nas.runtime.policies import BatteryBands, Charger, Lowest, ThermalClamp, UserPin
from nas.runtime.policy import Policy

__all__ = ["policy_from_json", "policy_to_json"]

_POLICIES: Mapping[str, type[Any]] = {
    "battery_bands": BatteryBands,
    "charger": Charger,
    "deadline": Deadline,
    "energy_until": EnergyUntil,
    "lowest": Lowest,
    "thermal_clamp": ThermalClamp,
    "user_pin": UserPin,
}


def policy_to_json(policy: Policy) -> dict[str, Any]:
    """A policy of this package under its name, with its settings; `TypeError` for one of your own."""
    names = [name for name, known in _POLICIES.items() if type(policy) is known]
    if not names:
        rule = f"a policy must be one of {list(_POLICIES)} to become JSON"
        raise TypeError(f"{rule}, but got {type(policy).__name__}; store level and reason yourself")
    values = {each.name: getattr(policy, each.name) for each in fields(_POLICIES[names[0]])}
    return {"name": names[0], **{name: _plain(value) for name, value in values.items()}}


def policy_from_json(record: Mapping[str, Any]) -> Policy:
    """The policy that `policy_to_json` wrote; settings left out are the usual ones.

    KeyError, TypeError or ValueError where it is something else.
    """
    settings = dict(record)
    known = _POLICIES[settings.pop("name")]
    policy: Policy = known(**{name: _value(value) for name, value in settings.items()})
    return policy


def _plain(value: Any) -> Any:
    if isinstance(value, Policy):
        return policy_to_json(value)
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return policy_from_json(value)
    return tuple(map(_value, value)) if isinstance(value, list) else value
