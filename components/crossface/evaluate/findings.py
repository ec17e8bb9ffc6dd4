"""What the numbers say, in sentences: better? less biased? promoted?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from crossface.evaluate.copies import caution, leakage_of


@dataclass(frozen=True)
class Finding:
    """A question, its answer in a few words, the numbers behind it, and what makes them doubtful."""

    question: str
    answer: str
    detail: str
    state: Literal["good", "bad", "open"]
    reasons: tuple[str, ...] = ()
    caution: str = ""

    def __str__(self) -> str:
        return f"{self.question} {self.answer}. {self.detail} {self.caution}".rstrip()


def findings(metrics: Mapping[str, Any]) -> tuple[Finding, Finding, Finding]:
    """Answer the three questions that a reader comes with.

    Args:
        metrics: the content of ``metrics.json``.
    """
    return _accuracy(metrics), _bias(metrics), _promotion(metrics)


def signed_points(difference: float, decimals: int = 1) -> str:
    """A difference of shares in points, with its sign, a true minus, and no negative zero."""
    text = f"{100 * difference:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def _accuracy(metrics: Mapping[str, Any]) -> Finding:
    models, gain = metrics["models"], metrics["gain"]
    state: Literal["good", "bad", "open"]
    points = 100 * gain["gain"]
    if gain["low"] > 0:
        answer, state = f"Yes, by {points:.1f} points", "good"
    elif gain["high"] < 0:
        answer, state = f"No, it is worse by {-points:.1f} points", "bad"
    else:
        answer, state = f"No clear difference ({signed_points(points / 100)} points)", "open"
    before, after = (models[name]["average"]["mean"]["balanced_accuracy"] for name in ("baseline", "adapted"))
    interval = f"{signed_points(gain['low'])} to {signed_points(gain['high'])} points"
    detail = (
        f"Balanced accuracy{_over(metrics['datasets'])} is {after:.1%}; the baseline has {before:.1%}. "
        f"The 95% interval of the gain is {interval}."
    )
    return Finding(
        "Is the adapted model better?",
        answer,
        f"{detail} {_by_dataset(metrics)}".strip(),
        state,
        caution=caution(leakage_of(metrics)),
    )


def _by_dataset(metrics: Mapping[str, Any]) -> str:
    if len(metrics["datasets"]) < 2:
        return ""
    before, after = (
        {
            name: scores["mean"]["balanced_accuracy"]
            for name, scores in metrics["models"][model]["per_dataset"].items()
        }
        for model in ("baseline", "adapted")
    )
    parts = []
    for word, sign in (("higher", 1), ("lower", -1), ("the same", 0)):
        names = [name for name in metrics["datasets"] if _sign(after[name] - before[name]) == sign]
        if names:
            parts.append(f"{word} on {_listed(names)}")
    return f"It is {_listed(parts)}."


def _bias(metrics: Mapping[str, Any]) -> Finding:
    question = "Is it less biased?"
    before, after = (metrics["models"][name]["probe"] for name in ("baseline", "adapted"))
    if before is None or after is None:
        why = (
            "There is only one dataset, so there is no bias between datasets to measure."
            if len(metrics["datasets"]) < 2
            else "The datasets share too few faces of any emotion for a dataset probe."
        )
        return Finding(question, "Cannot be said", why, "open")
    chance = after["chance"]
    detail = (
        f"From the adapted features, a fresh classifier names the dataset of {after['accuracy']:.1%} of the "
        f"faces (95% interval {_range(after)}); from the baseline's, of {before['accuracy']:.1%} "
        f"({_range(before)}). Chance is {chance:.1%}."
    )
    points = 100 * (after["accuracy"] - before["accuracy"])
    if before["low"] <= chance and after["low"] <= chance:
        return Finding(
            question, "There is no bias to remove", f"{detail} Neither can be told from chance.", "open"
        )
    if after["high"] < before["low"]:
        gone = (before["accuracy"] - max(after["accuracy"], chance)) / (before["accuracy"] - chance)
        detail += f" {gone:.0%} of the excess over chance is gone."
        return Finding(question, f"Yes, the probe falls by {-points:.1f} points", detail, "good")
    if after["low"] > before["high"]:
        return Finding(question, f"No, the probe rises by {points:.1f} points", detail, "bad")
    return Finding(
        question,
        f"No clear difference ({signed_points(points / 100)} points)",
        f"{detail} The intervals overlap.",
        "open",
    )


def _promotion(metrics: Mapping[str, Any]) -> Finding:
    verdict = metrics["verdict"]
    broken = tuple(reason for reason in verdict["reasons"] if reason.startswith("Broken"))
    return Finding(
        "May it be promoted?",
        "Yes" if verdict["passed"] else "No",
        verdict["sentence"],
        "good" if verdict["passed"] else "bad",
        broken[1:],  # the sentence is the first of them
    )


def _over(datasets: Sequence[str]) -> str:
    return f", averaged over {len(datasets)} datasets," if len(datasets) > 1 else f" on {datasets[0]}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _range(probe: Mapping[str, Any]) -> str:
    return f"{100 * probe['low']:.1f} to {probe['high']:.1%}"


def _sign(difference: float) -> int:
    """Of a difference as it is shown, in tenths of a point."""
    tenths = round(1000 * difference)
    return (tenths > 0) - (tenths < 0)
