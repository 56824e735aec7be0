"""Write docs/images/result.svg, the picture in the README, from results/metrics.json (run `dvc repro` first)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COLOURS = {"clip": "#56789a", "vse": "#b0b0b0", "ditm": "#d55e00"}
FIGURES = [
    ("Pair labels: RSUM / 600", "retrieval/rsum", 600),
    ("All true texts of an image: mAP@R", "false_negatives/i2t/map_at_r", 1),
    ("All true images of a text: mAP@R", "false_negatives/t2i/map_at_r", 1),
    ("HierarCaps-like chains: recall", "hierarcaps/radius_levels/recall", 1),
    ("Order of radius: tau_d", "hierarcaps/tau_d", 1),
]
LEFT, WIDTH, BAR, ROW = 250, 420, 13, 62


def main() -> None:
    """Write the picture."""
    metrics = json.loads((ROOT / "results/metrics.json").read_text(encoding="utf-8"))
    methods = [name for name in COLOURS if name in metrics] or sys.exit("results/metrics.json has none of the methods")
    height = ROW * len(FIGURES) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 740 {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="740" height="{height}" fill="#ffffff"/>',
    ]
    for place, method in enumerate(methods):
        x = LEFT + 90 * place
        parts.append(f'<rect x="{x}" y="12" width="12" height="12" fill="{COLOURS[method]}"/>')
        parts.append(f'<text x="{x + 18}" y="22" fill="#222222">{method}</text>')
    for row, (title, key, scale) in enumerate(FIGURES):
        top = 40 + row * ROW
        parts.append(f'<text x="{LEFT - 10}" y="{top + 26}" text-anchor="end" fill="#222222">{title}</text>')
        for place, method in enumerate(methods):
            share = metrics[method][key] / scale
            y = top + place * (BAR + 3)
            parts.append(
                f'<rect x="{LEFT}" y="{y}" width="{WIDTH * share:.1f}" height="{BAR}" fill="{COLOURS[method]}"/>'
                f'<text x="{LEFT + WIDTH * share + 5:.1f}" y="{y + 11}" fill="#222222">{share:.3f}</text>'
            )
    (ROOT / "docs/images/result.svg").write_text("\n".join([*parts, "</svg>\n"]), encoding="utf-8")


if __name__ == "__main__":
    main()
