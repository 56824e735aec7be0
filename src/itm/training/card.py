"""The page that travels with a model's weights: what it is, what it learnt from, how to open it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from itm.data.files import atomic_path

PAGE = "README.md"


def write_card(folder: Path, card: dict[str, Any], data: dict[str, str]) -> None:
    """Write README.md beside the model: `card` from `save_model`; `data`: name, title, licence, citation."""
    with atomic_path(folder / PAGE) as temporary:
        temporary.write_text(card_page(card, data), encoding="utf-8")


def card_page(card: dict[str, Any], data: dict[str, str]) -> str:
    """The model card in Markdown, with the front matter that model hubs read."""
    training, method, towers = card["training"], card["method"], card["towers_description"]
    added = ", ".join(name for name, options in method["add"].items() if options is not None)
    rows = {
        "loss": method["loss"]["type"],
        "similarity": f"{method['similarity']['type']} ({card['similarity']})",
        "additions": added or "none",
        "towers": f"{towers['kind']}, {'frozen' if card['towers']['frozen'] else 'trained'}",
        "image size": f"{card['towers']['image_size']} px, centre square",
        "kept epoch": f"{training['epoch']} of {training['epochs']}",
        "dev RSUM": f"{training['dev_rsum']:.1f} (retrieval on the dev split, 0..600)",
        "data": f"{data['title']} (`{data['name']}`)",
        "licence of the data": data["licence"],
        "citation of the data": data["citation"],
        "graded-itm": card["graded_itm"],
    }
    table = "\n".join(f"| {name} | {' '.join(str(value).split()).replace('|', '/')} |" for name, value in rows.items())
    options = "\n".join(f"| `{name}` | `{value}` |" for name, value in method["loss"].items() if name != "type")
    return f"""\
---
library_name: graded-itm
pipeline_tag: feature-extraction
license: other
tags: [image-text-matching, image-text-retrieval, {method["loss"]["type"]}]
datasets: [{data["name"]}]
---

# {card["name"]}, seed {card["seed"]}

Image-text matching: similarities of photos and texts. Trained by graded-itm; `model.json` has every parameter.

```python
import itm

model = itm.load(".")
model.similarity(model.encode_images(["photo.jpg"]), model.encode_texts(["a dog", "a white dog"]))
```

| | |
|---|---|
{table}

| option of the loss | |
|---|---|
{options}

The weights carry what the training data holds: its subjects, its languages, its biases. The similarity ranks; it is no
probability: `model.probability` is, by the calibrator in grade.json. Results on the test split are in the project's
report.
"""
