"""N24News (Wang et al., LREC 2022): photos of New York Times articles, one text each, in the publisher's splits.

The archive of the publisher holds news/nytimes_{train,dev,test}.json, lists of articles with `image_id`, `caption`,
`headline`, `abstract`, `section` and more, and imgs/<image_id>.jpg. Some articles have an empty caption: they cannot be
searched for, so that they are rejected with a reason in every split. No published list says otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from itm.config.parameters import Parameters
from itm.data.annotations import content_of, records_of
from itm.data.archives import Archive
from itm.data.layout import SPLITS
from itm.data.readers.base import CAPTION_COLUMNS, IMAGE_COLUMNS, QUARANTINE_COLUMNS, RawData, need
from itm.data.readers.karpathy import photos_by_name
from itm.errors import DataError, first_few, shown

ARCHIVE = "N24News.zip"


def read(name: str, raw: Path, parameters: Parameters) -> RawData:
    """One photo and one caption an article, in the order of the publisher's files; a caption's id is its number."""
    field = parameters.datasets.n24news.text
    path = need(raw, ARCHIVE)
    articles = {split: _articles(path, f"nytimes_{split}.json", field) for split in SPLITS}
    with Archive(path) as archive:
        wanted = {f"{article['image_id']}.jpg" for split in SPLITS for article in articles[split]}
        photos = photos_by_name(archive, wanted)
    taken: set[str] = set()
    kept: dict[str, list[tuple[int, str, str]]] = {}
    rejected: list[tuple[Any, ...]] = []
    # a photo of several articles stays where it is evaluated on
    for split in reversed(SPLITS):
        kept[split] = []
        for row, article in enumerate(articles[split], start=1):
            image, text = article["image_id"], article[field]
            if not text.strip() or image in taken:
                reason = "repeated-photo" if image in taken else "empty"
                rejected.append((f"nytimes_{split}.json", row, reason, text, image))
                continue
            taken.add(image)
            kept[split].append((row, image, text))
    rows = [(split, *article) for split in SPLITS for article in kept[split]]
    images = [(image, split, name, *photos.get(f"{image}.jpg", (ARCHIVE, ""))) for split, _, image, _ in rows]
    captions = [
        (number, image, split, 0, text, -1, -1, f"nytimes_{split}.json", row)
        for number, (split, row, image, text) in enumerate(rows)
    ]
    if not rows:
        raise DataError(f"{path}: no article has a {field}; choose another datasets.n24news.text", reason="no-captions")
    return RawData(
        pd.DataFrame(captions, columns=list(CAPTION_COLUMNS)),
        pd.DataFrame(images, columns=list(IMAGE_COLUMNS)),
        rejected=pd.DataFrame(rejected, columns=list(QUARANTINE_COLUMNS)),
        notes={
            "text": field,
            "articles_without_text": sum(row[2] == "empty" for row in rejected),
            "articles_with_a_photo_of_another": sum(row[2] == "repeated-photo" for row in rejected),
            "photos_of_no_article": len(photos.keys() - {f"{image}.jpg" for image in taken}),
        },
    )


def _articles(path: Path, file: str, field: str) -> list[dict[str, Any]]:
    """The articles of one split, each with an image id and the text that is asked for."""
    articles = records_of(content_of(path, file), f"{path}: {file}", file)
    wrong = [f"article {row}: {fault}" for row, each in enumerate(articles, start=1) if (fault := _fault(each, field))]
    if wrong:
        raise DataError(
            f"{path}: {len(wrong)} articles of {file} are not of their form: {first_few(wrong)}", reason="form"
        )
    return articles


def _fault(article: Any, field: str) -> str:
    if not isinstance(article, dict):
        return f"is {type(article).__name__}, not an object"
    missing = [key for key in ("image_id", field) if key not in article]
    if missing:
        return f"has no {', '.join(missing)}"
    if not isinstance(article["image_id"], str) or not article["image_id"]:
        return f"image_id {shown(article['image_id'])} is no name"
    return "" if isinstance(article[field], str) else f"{field} {shown(article[field])} is no text"
