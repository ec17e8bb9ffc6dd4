"""What the copies of faces mean for an evaluation, in sentences."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from crossface.data.leakage import Cause, Kind, LeakageCounts

_WHERE = {
    Kind.ACROSS_DATASETS: "between datasets",
    Kind.ACROSS_SPLITS: "between splits of one dataset",
    Kind.WITHIN_SPLIT: "within one split",
}
_HAVE = {Cause.TWIN_IN_TEST: "a copy in a test split", Cause.TWIN_IN_DEV: "a copy in a dev split"}


def leakage_of(metrics: Mapping[str, Any]) -> LeakageCounts | None:
    """What find_leakage had found, or None when the evaluation was not told.

    Args:
        metrics: the content of ``metrics.json``.
    """
    found = metrics.get("leakage")
    return None if found is None else LeakageCounts.model_validate(found)


def caution(leakage: LeakageCounts | None) -> str:
    """Why the accuracy cannot be taken as it is: copies that leak and were kept; else empty."""
    if leakage is None or leakage.dropped or not leakage.leaking:
        return ""
    seen = sum(
        row.count for row in leakage.leaking if (row.split, row.reason) == ("train", Cause.TWIN_IN_TEST)
    )
    if seen:
        return (
            f"Training kept {_number(seen, 'face')} with a copy in a test split (policy {leakage.policy}), "
            "which inflates the accuracy of both models."
        )
    kept = _leaking(leakage).total()
    return (
        f"Training kept {_number(kept, 'face')} with a copy across dev and another split "
        f"(policy {leakage.policy}), which biases the choice of each model's epoch."
    )


def copies(leakage: LeakageCounts) -> tuple[str, ...]:
    """What was found, what became of it, and where the search was cut short, a sentence or two each."""
    return tuple(filter(None, (_found(leakage), _handled(leakage), _unsearched(leakage))))


def _found(leakage: LeakageCounts) -> str:
    among = f"among {_number(sum(part.count for part in leakage.faces), 'face')}"
    pairs = sum(counts.pairs for counts in leakage.pairs.values())
    if not pairs:
        return f"No copies were found {among}."
    kinds = [f"{counts.pairs:,} {_WHERE[kind]}" for kind, counts in leakage.pairs.items() if counts.pairs]
    differ = sum(counts.labels_differ for counts in leakage.pairs.values())
    labels = f"The labels of {_number(differ, 'pair')} differ." if differ else "No pair has two labels."
    return f"{_number(pairs, 'pair')} of copies {among}: {', '.join(kinds)}. {labels}"


def _handled(leakage: LeakageCounts) -> str:
    if not leakage.between:
        return ""
    leaking = _leaking(leakage)
    if not leaking:
        return (
            "None of them leaks: no train face has a copy in dev or test, and no dev face has one in test "
            f"(policy {leakage.policy})."
        )
    causes = " and ".join(f"{count:,} with {_HAVE[cause]}" for cause, count in leaking.items())
    done = "Left out of training" if leakage.dropped else "Not left out of training"
    return f"{done} (policy {leakage.policy}): {_number(leaking.total(), 'face')}, {causes}."


def _unsearched(leakage: LeakageCounts) -> str:
    search = leakage.search
    if not search.bounded_hashes and not search.crops_not_compared:
        return ""
    return (
        "The search was cut short and may have missed some (hashes with more near ones than were compared: "
        f"{search.bounded_hashes:,}; crops not compared: {search.crops_not_compared:,})."
    )


def _leaking(leakage: LeakageCounts) -> Counter[Cause]:
    """Faces by cause, the causes that come."""
    faces = {cause: sum(row.count for row in leakage.leaking if row.reason is cause) for cause in Cause}
    return +Counter(faces)


def _number(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
