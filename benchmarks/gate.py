"""How often the gate errs: simulated from the predictions of two real models.

From ``predictions.parquet`` of an evaluation come, for each class of each dataset, how often a model is right
and how often the two models disagree. Test sets are drawn with these rates, for a candidate that is as good
as the champion, or better or worse by some points in every class, and the gate's paired rules judge it. An
equal model is what a retraining that brought nothing makes; one that is worse by the margin must be refused.
Bias and calibration are equal throughout, so that accuracy alone decides.

    python benchmarks/gate.py EVALUATION [--quick] [--json OUT]
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
from report import parser, table, write_ratios

from crossface.gate.paired import Pairs, pair_predictions
from crossface.gate.paired_rules import paired_rules
from crossface.gate.policy import GatePolicy

SIZES = (300, 1000, 3068, 12000)
GAINS = (-0.04, -0.02, 0.0, 0.02, 0.04)
MARGINS = (0.02, 0.05)
_SIDES = ("candidate", "champion")


def main() -> None:
    """Print how many of the candidates pass."""
    options = parser(__doc__)
    options.add_argument("evaluation", type=Path, help="folder that evaluate wrote")
    chosen = options.parse_args()
    rates = disagreement(chosen.evaluation / "predictions.parquet")
    trials, rng = (60 if chosen.quick else 400), np.random.default_rng(0)
    ratios = {}
    for margin in MARGINS:
        policy, rows = GatePolicy(margin=margin), []
        for size in SIZES:
            shares = [pass_rates(rates, size, gain, policy, trials, rng) for gain in GAINS]
            rows.append([str(size), *(f"{passed:.2f} ({no_worse:.2f})" for passed, no_worse in shares)])
            name = f"margin{100 * margin:.0f}_n{size}"
            for gain, (passed, _) in zip(GAINS, shares, strict=True):
                ratios[f"{name}_gain{100 * gain:+.0f}"] = passed
        print(f"\npassed (were found no worse), of {trials} candidates; margin {100 * margin:.0f} points")
        print(table(["faces a dataset", *(f"{100 * gain:+.0f} points" for gain in GAINS)], rows))
    write_ratios(ratios, chosen.json)


def disagreement(predictions: Path) -> pd.DataFrame:
    """Rates by dataset and emotion: ``share`` of the dataset's faces, ``right``, ``differ``."""
    rows = pq.read_table(predictions)
    models = (rows.filter(pc.field("model") == name) for name in ("adapted", "baseline"))
    faces = pair_predictions(*models).rows
    faces["right"] = faces["count"] * (faces["candidate"].astype(int) + faces["champion"]) / 2
    faces["differ"] = faces["count"] * (faces["candidate"] != faces["champion"])
    rates = faces.groupby(["dataset", "emotion"])[["count", "right", "differ"]].sum()
    rates["share"] = rates["count"] / rates.groupby("dataset")["count"].transform("sum")
    for name in ("right", "differ"):
        rates[name] /= rates["count"]
    return rates.reset_index()


def pass_rates(
    rates: pd.DataFrame, size: int, gain: float, policy: GatePolicy, trials: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Shares of the candidates that keep every paired rule, and every rule but that of being better."""
    passed = no_worse = 0
    for trial in range(trials):
        rules = paired_rules(draw(rates, size, gain, rng), (None, None), policy, "the champion", trial)
        broken = {rule.name for rule in rules if not rule.kept}
        passed += not broken
        no_worse += broken <= {"better in something"}
    return passed / trials, no_worse / trials


def draw(rates: pd.DataFrame, size: int, gain: float, rng: np.random.Generator) -> Pairs:
    """Both models on drawn faces: as alike as the real two, the candidate better by ``gain``."""
    rows = []
    for cell in rates.itertuples():
        half = max(cell.differ / 2, abs(gain) / 2)
        both = max(cell.right - half, 0)
        chances = np.array([both, half + gain / 2, half - gain / 2, 0])
        chances[3] = max(1 - chances.sum(), 0)
        drawn = rng.multinomial(max(round(size * cell.share), 1), chances / chances.sum())
        for (candidate, champion), count in zip(((1, 1), (1, 0), (0, 1), (0, 0)), drawn, strict=True):
            rows.append(
                (cell.dataset, cell.emotion, None, None, None, bool(candidate), bool(champion), count)
            )
    columns = ["dataset", "emotion", "gender", "race", "age", *_SIDES, "count"]
    return Pairs(pd.DataFrame(rows, columns=columns))


if __name__ == "__main__":
    main()
