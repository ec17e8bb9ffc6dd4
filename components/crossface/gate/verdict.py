"""The verdict on a candidate: every rule with its reason, and one sentence for whoever decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """One rule, and whether it is kept."""

    name: str
    kept: bool
    sentence: str
    """The numbers behind it; a whole sentence that does not name the rule."""


@dataclass(frozen=True)
class Verdict:
    """What the gate says."""

    passed: bool
    sentence: str
    """For a person who reads nothing else."""
    rules: tuple[Rule, ...]
    """The broken ones first."""
    compared_with: str
    """Version of the champion, or that of which the candidate is a copy; empty where there is none."""

    @classmethod
    def of(cls, rules: Sequence[Rule], compared_with: str, praise: str) -> "Verdict":
        """Count the rules.

        Args:
            rules: all that were applied.
            compared_with: the version that they are about; empty where there is none.
            praise: the sentence if all of them are kept.
        """
        ordered = tuple(sorted(rules, key=lambda rule: rule.kept))  # stable: in order within each half
        broken = [rule for rule in ordered if not rule.kept]
        if not broken:
            return cls(True, praise, ordered, compared_with)
        more = f" ({len(broken)} rules are broken.)" if len(broken) > 1 else ""
        return cls(False, f"Refused: {broken[0].sentence}{more}", ordered, compared_with)

    @property
    def reasons(self) -> list[str]:
        """Every rule as a line."""
        return [f"{'Kept' if rule.kept else 'Broken'}: {rule.sentence}" for rule in self.rules]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "passed": self.passed,
            "sentence": self.sentence,
            "compared_with": self.compared_with,
            "reasons": self.reasons,
            "rules": [vars(rule) for rule in self.rules],
        }
