"""What the page of a pipeline run shows beside the report: a short text."""

from collections.abc import Mapping
from typing import Any

from crossface.evaluate.findings import findings, signed_points
from crossface.markdown import plain


def markdown(metrics: Mapping[str, Any]) -> str:
    """The findings as sentences and the balanced accuracies as a table.

    Args:
        metrics: the content of ``metrics.json``.
    """
    lines = []
    for finding in findings(metrics):
        question, answer = plain(finding.question), plain(finding.answer)
        lines += [f"**{question} {answer}.** {plain(f'{finding.detail} {finding.caution}')}", ""]
        if finding.reasons:
            lines += [*(f"- {plain(reason)}" for reason in finding.reasons), ""]
    lines += ["| Balanced accuracy, % | baseline | adapted | change |", "|---|---:|---:|---:|"]
    baseline, adapted = (metrics["models"][name] for name in ("baseline", "adapted"))
    for name in metrics["datasets"]:
        lines.append(_line(name, baseline["per_dataset"][name], adapted["per_dataset"][name]))
    if len(metrics["datasets"]) > 1:
        lines.append(_line("Mean", baseline["average"], adapted["average"]))
    return "\n".join(lines) + "\n"


def _line(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    old, new = (heads["mean"]["balanced_accuracy"] for heads in (before, after))
    return f"| {plain(name)} | {100 * old:.1f} | {100 * new:.1f} | {signed_points(new - old)} |"
