"""The evidence on which the levels of a bundle are said to keep a budget."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self, final

from nas.bundle import fields

__all__ = ["Certificate"]


@final
@dataclass(frozen=True, kw_only=True)
class Certificate:
    """How the latencies of a bundle's levels were measured, and the budget that they were held against."""

    budget: str
    """What had to hold; empty where nothing had to."""
    measured: datetime
    versions: Mapping[str, str] = field(hash=False)
    """Versions of the packages that made and measured the bundle."""
    conditions: Mapping[str, float | None] = field(hash=False)
    """Numbers by name, None where the system does not tell."""

    def to_json(self) -> dict[str, Any]:
        """The certificate as it stands in bundle.json."""
        return {
            "budget": self.budget,
            "measured": self.measured.isoformat(),
            "versions": dict(self.versions),
            "conditions": dict(self.conditions),
        }

    @classmethod
    def from_json(cls, record: object, where: str = "certificate") -> Self:
        """Read what `to_json` wrote; `where` begins the sentence of an error."""
        versions = fields.field(record, "versions", dict, where)
        conditions = fields.field(record, "conditions", dict, where)
        return cls(
            budget=fields.field(record, "budget", str, where),
            measured=fields.moment(record, "measured", where),
            versions={name: fields.field(versions, name, str, f"{where}.versions") for name in versions},
            conditions={
                name: fields.optional_number(conditions, name, f"{where}.conditions") for name in conditions
            },
        )
