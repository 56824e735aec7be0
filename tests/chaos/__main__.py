"""Disturb the stand-in pipeline by many faults, under both runners, and print what came of each as Markdown.

    python -m tests.chaos [--faults 42] [--seed 0] [--page docs/results/chaos.md]

The stages are stand-ins that write their outputs in steps; DVC, Snakemake, dvc.yaml, the rules and all that records
and repairs are the real ones. The same seed gives the same faults at the same steps.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

from chaos.faults import Row, Skip, disturb, plan, table  # noqa: E402
from chaos.project import prepare  # noqa: E402
from results_page import commit, machine  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=42)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="faults whose name holds this")
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    began, made_at = time.monotonic(), commit()
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    failed = 0
    with tempfile.TemporaryDirectory(prefix="itm-chaos-") as scratch:
        bases = prepare(Path(scratch) / "bases")
        print(f"prepared in {time.monotonic() - began:.0f} s", file=sys.stderr)
        for number, case in enumerate(plan(given.faults, given.seed)):
            if given.only not in case.name:
                continue
            try:
                rows.append(disturb(case, bases, Path(scratch) / f"case{number}"))
                failed += not rows[-1].equal
                print(
                    f"{number} {case.name}: {rows[-1].after}: {rows[-1].equal}, {rows[-1].seconds:.0f} s",
                    file=sys.stderr,
                )
            except Skip as reason:
                skipped[case.fault] = str(reason)
            except Exception:
                failed += 1
                print(f"{number} {case.name}: FAILED", file=sys.stderr)
                traceback.print_exc()
    equal = sum(row.equal for row in rows)
    summary = f"{len(rows)} faults, {equal} with the undisturbed run's results, bit for bit; {failed} failed."
    text = f"{summary}\n\n{table(rows, skipped)}"
    print(text)
    if given.page:
        options = f"--faults {given.faults} --seed {given.seed}" + (f" --only '{given.only}'" if given.only else "")
        head = (
            "<!-- Written by `python -m tests.chaos`. Do not edit. -->\n"
            "# Faults, and what the next run makes of them\n\n"
            f"Made at commit {made_at} on {machine()} in {time.monotonic() - began:.0f} s by\n\n"
            f"```\npython -m tests.chaos {options} --page {given.page}\n```\n\n"
            "Stand-ins do the work of the stages, in steps; all else is the real pipeline under the real runners.\n"
            "What to do after each fault: [reliability.md](../reliability.md).\n\n"
        )
        given.page.write_text(head + text, encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
