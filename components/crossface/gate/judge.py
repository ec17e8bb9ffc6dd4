"""The whole gate."""

from dataclasses import replace

from crossface.gate.champion import Judged, against_champion
from crossface.gate.floors import floors
from crossface.gate.policy import GatePolicy
from crossface.gate.verdict import Verdict


def judge(candidate: Judged, champion: Judged | None, policy: GatePolicy, seed: int = 0) -> Verdict:
    """Apply every rule.

    Args:
        candidate: the new model.
        champion: the one that is in use, if there is one; for a copy in another precision, else its source.
        policy: the rules.
        seed: of the bootstrap; the same evaluations give the same verdict.

    Returns:
        the verdict; a candidate that passes without a champion is for a person to promote.
    """
    rules = list(floors(candidate.metrics, policy))
    if champion is None:
        praise = "It reaches every floor; there is no champion to compare it with, so a person promotes it."
        return Verdict.of(rules, "", praise)
    rules += against_champion(candidate, champion, policy, seed)
    better = next((rule.sentence for rule in rules if rule.name == "better in something"), "")
    praise = f"It may replace version {champion.version}: not worse on any dataset or group"
    verdict = Verdict.of(rules, champion.version, f"{praise}, and {better}" if better else f"{praise}.")
    if not candidate.derived_from:
        return verdict
    source = f"Its dataset bias was measured on version {candidate.derived_from}, whose copy it is."
    return replace(verdict, sentence=f"{verdict.sentence} {source}")
