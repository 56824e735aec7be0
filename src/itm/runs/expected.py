"""The published figures that a preset of the papers' settings is to be compared with; where there is none, that."""

from __future__ import annotations

from itm.config import Parameters
from itm.evaluation.published.quoted import QUOTED, Quoted

REGIONS = {
    "esl-token": "ESL-H, BUTD regions + BERT",
    "esl-token-adaptive": "ESL-A, BUTD regions + BERT",
    "vse-inf": "VSE-infinity (GPO), BUTD regions + BERT",
    "vse-inf-vsd": "VSD on GPO, BUTD regions + BERT",
    "aahr": "AAHR, BUTD regions + BERT + CLIP ViT-B/32",
    "aahr-faithful": "AAHR, BUTD regions + BERT + CLIP ViT-B/32",
}
FINE_TUNED = {"clip": "CLIP ViT-B/32, fine-tuned", "vsd": "VSD on CLIP ViT-B/32, fine-tuned"}
DIFFERENCES = {
    "regions": "the text tower is frozen CLIP here and trained BERT there, the schedule a cosine and not steps",
    "fine-tuned": "the recipe behind the quoted figures is not published",
}


def setting(parameters: Parameters) -> str:
    """Which published setting the parameters follow: "regions", "fine-tuned", or "" for none."""
    towers = parameters.towers
    if parameters.data.name not in ("coco", "flickr30k"):
        return ""
    if parameters.regions.use:
        return "regions"
    return "fine-tuned" if towers.open_clip_model == "ViT-B-32" and not towers.frozen else ""


def expected(parameters: Parameters) -> dict[str, Quoted | None]:
    """The quoted row of each method of the run; None where nothing is published for it in this setting.

    DITM has none in any: its paper's tables were never available.
    """
    labels = {"regions": REGIONS, "fine-tuned": FINE_TUNED}.get(setting(parameters), {})
    rows = {row.model: row for row in QUOTED if row.benchmark == parameters.data.name}
    return {method: rows.get(labels.get(method, "")) for method in parameters.methods}
