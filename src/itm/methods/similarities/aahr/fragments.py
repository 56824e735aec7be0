"""Similarity of a caption's words and an image's regions, for all pairs of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.1
_BLOCK = 2**20
"""Values of the word-by-region table that are held at a time: it then stays in a core's cache."""


@torch.no_grad()
def fragment_scores(words: Tensor, word_mask: Tensor, regions: Tensor, region_mask: Tensor) -> tuple[Tensor, Tensor]:
    """The best region's score of each word, (texts, images, words), and the best word's of each region, (images, texts,
    regions); no gradient, 0 for padding.

    From M = LeakyReLU_0.1(cos(word, region)) of a pair: of words max_r M_wr / |M_.r| (each region's column over the
    words has unit length), of regions max_w M_wr / |M_w.|. The table of all words with all regions of the batch is
    never held as a whole.

    Args:
        words: (texts, words, dimension) float.
        word_mask: (texts, words) bool.
        regions: (images, regions, dimension) float.
        region_mask: (images, regions) bool.
    """
    # padding becomes a zero vector: it then adds nothing to a length, and only the maxima must leave it out
    words = functional.normalize(words, dim=-1) * word_mask.unsqueeze(-1)
    regions = functional.normalize(regions, dim=-1) * region_mask.unsqueeze(-1)
    (texts, length, dimension), (images, places, _) = words.shape, regions.shape
    columns = regions.reshape(-1, dimension).T
    of_words = words.new_empty(texts, images, length)
    of_regions = words.new_empty(images, texts, places)
    hidden_words, hidden_regions = ~word_mask, ~region_mask
    rows = max(_BLOCK // max(length * images * places, 1), 1)
    for first in range(0, texts, rows):
        part = slice(first, first + rows)
        table = (words[part].reshape(-1, dimension) @ columns).view(-1, length, images, places)
        table = functional.leaky_relu_(table, SLOPE)
        squares = table.square()
        by_region = table * squares.sum(1, keepdim=True).clamp(min=1e-16).rsqrt()
        by_region.masked_fill_(hidden_regions, -torch.inf)
        of_words[part] = by_region.amax(3).transpose(1, 2)
        by_word = table.mul_(squares.sum(3, keepdim=True).clamp(min=1e-16).rsqrt())
        by_word.masked_fill_(hidden_words[part, :, None, None], -torch.inf)
        of_regions[:, part] = by_word.amax(1).transpose(0, 1)
    of_words = torch.where(word_mask[:, None, :] & region_mask.any(1)[None, :, None], of_words, 0)
    of_regions = torch.where(region_mask[:, None, :] & word_mask.any(1)[None, :, None], of_regions, 0)
    return of_words, of_regions


def mean_score(scores: Tensor, mask: Tensor) -> Tensor:
    """The mean (rows, columns) of scores (rows, columns, fragments) over a row's real fragments; 0 without any."""
    return (scores * mask.unsqueeze(1)).sum(2) / mask.sum(1).clamp(min=1).unsqueeze(1)


class FragmentRelation(nn.Module):
    """One number for a pair from the scores of its fragments: their mean, plus a trained map of the largest ones.

    Args:
        scores: how many of the largest are looked at; 0 = the mean alone, which has nothing to train.
    """

    def __init__(self, scores: int) -> None:
        super().__init__()
        self.scores = scores
        self.map: nn.Sequential | None = None
        if scores:
            last = nn.Linear(scores, 1)
            # starts as the mean: an untrained map would shuffle the graph
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.map = nn.Sequential(nn.Linear(scores, scores), nn.ReLU(), last)

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Relations (rows, columns) from scores (rows, columns, fragments) and the mask (rows, fragments)."""
        mean = mean_score(scores, mask)
        if self.map is None:
            return mean
        count = min(self.scores, scores.shape[2])
        largest = scores.masked_fill(~mask.unsqueeze(1), -torch.inf).topk(count, 2).values
        # missing fragments count 0, at the end: how long a caption is must not depend on the batch's padding
        largest = largest.masked_fill(torch.isinf(largest), 0)
        padded = functional.pad(largest, (0, self.scores - count))
        found: Tensor = mean + self.map(padded).squeeze(2)
        return found
