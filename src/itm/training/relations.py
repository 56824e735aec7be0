"""Prior knowledge of image-caption pairs: owners, descriptiveness, keyword containment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse

from itm.methods.method import Labels, Requirements
from itm.text.controls import image_descriptiveness
from itm.text.relaxation import containment, keyword_union
from itm.training.batches import BatchRows, Rows

if TYPE_CHECKING:
    from itm.config.losses import ImageScore

Floats = np.ndarray[Any, np.dtype[np.float64]]


class Relations:
    """Labels of any batch of the training split.

    Args:
        owner: (captions,) image row of each caption.
        same: (images,) rows with equal values are copies of one image (by content); their captions are positives
            of each other and never negatives.
        descriptiveness: (captions,) dn.
        image_score: how an image's dn is taken from its captions.
        keywords: (captions, vocabulary) idf of the keywords that a caption holds, 0 elsewhere.
    """

    def __init__(
        self,
        owner: Rows,
        same: Rows,
        descriptiveness: Floats,
        image_score: ImageScore,
        keywords: sparse.csr_array | None,
    ) -> None:
        self.owner, self.same, self.descriptiveness = owner, same, descriptiveness
        self.keywords = keywords
        images = len(same)
        self.image_descriptiveness = (
            None if image_score == "paired" else image_descriptiveness(image_score, descriptiveness, owner, images)
        )
        if keywords is not None:
            self.image_keywords = keyword_union(keywords, owner, images)

    def labels(self, rows: BatchRows, requires: Requirements, device: torch.device) -> Labels:
        """The labels of a batch, on a device."""
        content = self.same[rows.images]
        positives = content[:, None] == self.same[self.owner[rows.captions]][None, :]
        if self.image_descriptiveness is None:
            # the caption that an image is paired with: the first one drawn for it
            _, first = np.unique(rows.owner, return_index=True)
            image_descriptiveness = self.descriptiveness[rows.captions[first]]
        else:
            image_descriptiveness = self.image_descriptiveness[rows.images]

        def move(array: np.ndarray[Any, Any], kind: torch.dtype) -> torch.Tensor:
            return torch.as_tensor(array, dtype=kind).to(device)

        def containment_of(images: torch.Tensor, captions: torch.Tensor) -> torch.Tensor:
            return move(self.containment(images.cpu().numpy(), captions.cpu().numpy()), torch.float32)

        return Labels(
            positives=move(positives, torch.bool),
            owner=move(rows.owner, torch.long),
            descriptiveness=move(self.descriptiveness[rows.captions], torch.float32),
            image_descriptiveness=move(image_descriptiveness, torch.float32),
            containment=move(self.containment(rows.images, rows.captions), torch.float32)
            if requires.containment
            else None,
            image_rows=move(rows.images, torch.long),
            text_rows=move(rows.captions, torch.long),
            image_same=move(content, torch.long),
            text_same=move(self.same[self.owner[rows.captions]], torch.long),
            containment_of=containment_of if requires.containment else None,
        )

    def containment(self, images: Rows, captions: Rows) -> Floats:
        """The relevance gate (images, texts), 0..1, of `itm.text.relaxation.containment` for rows of the split."""
        if self.keywords is None:
            raise ValueError("containment needs the keywords of the captions")
        return containment(self.keywords[captions], self.image_keywords[images])
