"""The one form of all benchmarks: ``python benchmarks/NAME.py [--quick] [--json OUT]``."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path


def arguments(description: str | None) -> argparse.Namespace:
    """What the command line says, for a benchmark with no arguments of its own."""
    return parser(description).parse_args()


def parser(description: str | None) -> argparse.ArgumentParser:
    """``--quick`` ends within three minutes; ``--json`` writes the ratios."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--quick", action="store_true", help="a smaller run, within three minutes")
    options.add_argument("--json", type=Path, metavar="OUT", help="write the ratios to this file")
    return options


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned first column, right-aligned others."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = []
    for row in (header, *rows):
        first, *rest = (
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join((first, *rest)).rstrip())
    return "\n".join(lines)


def write_ratios(ratios: dict[str, float], out: Path | None) -> None:
    """Print the ratios, and write them where ``--json`` says."""
    print("\n" + table(("ratio", "value"), [(name, f"{value:.3f}") for name, value in ratios.items()]))
    if out:
        out.write_text(json.dumps(ratios, indent=2) + "\n")
