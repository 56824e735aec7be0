"""The papers' training steps written out slowly from their recipes: plain torch, row by row, no code of the project.

Covered: BERT's states as transformers gives them, maps and poolings, similarities, all losses with their reductions and
starts, the twin and its queues, the norm of the gradients, AdamW with its rates. Left out: dropout, and what training
leaves out or changes at random (regions, words), which both sides would have to draw alike; draws of negatives come
from the same numbers. As the project documents, captions of an image never meet, padding takes part in nothing, a
node's distance to itself is 1e-4, and neighbours whose relations differ by less than 1e-4 are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    bias = w.get(f"{name}.bias")
    found = x @ w[f"{name}.weight"].T
    return found if bias is None else found + bias


def unit(x: Tensor, epsilon: float = 0.0) -> Tensor:
    return x / (x.square().sum(-1, keepdim=True).sqrt() + epsilon)


def batch_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    mean, variance = x.mean(0), x.var(0, unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]


def region_map(w: Weights, regions: Tensor, short: str, into: str, norm: str, out: str) -> Tensor:
    """Regions (images, 36, width) by a linear map and a network with batch normalisation over all of them."""
    rows = regions.reshape(-1, regions.shape[-1])
    deep = linear(w, out, batch_norm(w, norm, linear(w, into, rows)).clamp(min=0))
    return (linear(w, short, rows) + deep).reshape(*regions.shape[:2], -1)


# --- generalised pooling


def gru(w: Weights, name: str, codes: Tensor, suffix: str) -> list[Tensor]:
    order = range(len(codes)) if not suffix else range(len(codes) - 1, -1, -1)
    width = codes.shape[1]
    state, found = codes.new_zeros(width), [codes.new_zeros(0)] * len(codes)
    for place in order:
        given = w[f"{name}.weight_ih_l0{suffix}"] @ codes[place] + w[f"{name}.bias_ih_l0{suffix}"]
        kept = w[f"{name}.weight_hh_l0{suffix}"] @ state + w[f"{name}.bias_hh_l0{suffix}"]
        reset = torch.sigmoid(given[:width] + kept[:width])
        update = torch.sigmoid(given[width : 2 * width] + kept[width : 2 * width])
        new = torch.tanh(given[2 * width :] + reset * kept[2 * width :])
        state = (1 - update) * new + update * state
        found[place] = state
    return found


def pooled(w: Weights, name: str, tokens: Tensor) -> Tensor:
    """One row's tokens (n, width) to a vector: sorted values weighed by their place."""
    n, width = len(tokens), w[f"{name}.score.weight"].shape[1]
    codes = torch.zeros(n, width)
    for place in range(n):
        for pair in range(width // 2):
            angle = place * math.exp(-2 * pair * math.log(10000.0) / width)
            codes[place, 2 * pair], codes[place, 2 * pair + 1] = math.sin(angle), math.cos(angle)
    both = zip(*(gru(w, f"{name}.recurrent", codes, suffix) for suffix in ("", "_reverse")), strict=True)
    scores = torch.stack([(w[f"{name}.score.weight"] @ ((a + b) / 2))[0] for a, b in both])
    weights = torch.softmax(scores / 0.1, 0)
    return (weights.unsqueeze(1) * tokens.sort(0, descending=True).values).sum(0)


def vse_inf(w: Weights, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    names = [f"similarity.image_{name}" for name in ("map", "detail.0", "detail.1", "detail.3")]
    regions = region_map(w, batch["regions"], *names)
    images = torch.stack([unit(pooled(w, "similarity.image_pool", row)) for row in regions])
    words = [linear(w, "similarity.text_map", states) for states in batch["words"]]
    return images, torch.stack([unit(pooled(w, "similarity.text_pool", row)) for row in words])


def mean_pooled(w: Weights, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    names = [f"similarity.image_{name}" for name in ("map", "detail.0", "detail.1", "detail.3")]
    images = unit(region_map(w, batch["regions"], *names).mean(1))
    return images, torch.stack([unit(linear(w, "similarity.text_map", row).mean(0)) for row in batch["words"]])


# --- losses


def hinge(scores: Tensor, epoch: int) -> Tensor:
    """Summed over both directions; all negatives in epoch 0, then the hardest."""
    total, n = scores.new_zeros(()), len(scores)
    for i in range(n):
        rows = [(0.2 + scores[i, j] - scores[i, i]).clamp(min=0) for j in range(n) if j != i]
        columns = [(0.2 + scores[j, i] - scores[i, i]).clamp(min=0) for j in range(n) if j != i]
        for found in (torch.stack(rows), torch.stack(columns)):
            total = total + (found.sum() if epoch == 0 else found.max())
    return total


def triplets(scores: Tensor, noise: Iterator[Tensor], cutoff: float = 1.7) -> Tensor:
    """One negative a pair and direction, drawn by the inverse density of distances on a sphere in 512 dimensions."""
    total = scores.new_zeros(())
    for given in (scores, scores.T):
        draws = next(noise)
        for i in range(len(given)):
            logs = []
            for j in range(len(given)):
                distance = max(math.sqrt(max(2 - 2 * given[i, j].item(), 0)), 0.5)
                if j == i or distance >= cutoff:
                    logs.append(-math.inf)
                else:
                    logs.append((2 - 512) * math.log(distance) - (512 - 3) / 2 * math.log(1 - distance**2 / 4))
            if max(logs) == -math.inf:
                logs = [-math.inf if j == i else 0.0 for j in range(len(given))]
            # one draw from softmax(logs), by the largest of log weight plus Gumbel noise
            keys = [log - math.log(-math.log(u + 2**-26)) for log, u in zip(logs, draws[i].tolist(), strict=True)]
            negative = keys.index(max(keys))
            total = total + (0.2 + given[i, negative] - given[i, i]).clamp(min=0)
    return total


def swapped(images: Tensor, texts: Tensor, prototypes: Tensor, epsilon: float) -> Tensor:
    """Each side's balanced codes predicted from the other side; a mean over the batch, both directions summed."""
    of_images, of_texts = images @ prototypes.T, texts @ prototypes.T

    def codes(scores: Tensor) -> Tensor:
        q = (scores.detach() / epsilon).exp().T
        q = q / q.sum()
        for _ in range(3):
            q = q / q.sum(1, keepdim=True) / len(q)
            q = q / q.sum(0, keepdim=True) / q.shape[1]
        return (q * q.shape[1]).T

    forth = -(codes(of_texts) * torch.log_softmax(of_images / 0.1, 1)).sum(1).mean()
    return forth - (codes(of_images) * torch.log_softmax(of_texts / 0.1, 1)).sum(1).mean()


# --- ESL


def levels(w: Weights, name: str, x: Tensor, adaptive: bool, raw: bool) -> list[Tensor]:
    found, below, level = [x], x, 0
    while below.shape[-1] > 2:
        if adaptive:
            rows = unit(w[f"{name}.steps.{level}.weight"], 1e-8)
            kept = torch.zeros_like(rows)
            for unit_of, row in enumerate(rows):
                for column in row.topk(2).indices:
                    kept[unit_of, column] = row[column]
            mixed = below @ kept.T
        else:
            a, b = w[f"{name}.steps.{level}.taps"]
            mixed = a * below[..., 0::2] + b * below[..., 1::2]
        found.append(unit(mixed, 1e-8))
        below, level = mixed if raw else found[-1], level + 1
    return found


def esl(w: Weights, batch: dict[str, Any], adaptive: bool) -> Tensor:
    s = "similarity"
    regions = unit(
        region_map(w, batch["regions"], *(f"{s}.regions.{each}" for each in ("linear", "into", "norm", "out"))), 1e-8
    )
    words = [unit(linear(w, f"{s}.words.linear", states), 1e-8) for states in batch["words"]]
    p = w[f"{s}.correspondence.contribution.degrees"]
    if adaptive:
        weights = p
    else:
        sigma, tau = (w[f"{s}.correspondence.contribution.{name}"] for name in ("sigma", "log_tau"))
        threshold = p.abs().min() + sigma * (p.abs().max() - p.abs().min())
        weights = (tau.exp() * (p.abs() - threshold)).exp() * p
    forms = []
    for level in range(len(p)):
        name = f"{s}.correspondence.matrices.{level}"
        m = w[f"{name}.weight"]
        normed = (m - m.mean()) / (m.var(unbiased=False) + 1e-8).sqrt()
        forms.append(normed * w[f"{name}.norm.weight"] + w[f"{name}.norm.bias"])
    scale = w[f"{s}.log_scale"].exp()

    def attended(r: Tensor) -> Tensor:
        """Rows look at columns: columns get unit length over the rows, rows a softmax over the columns."""
        signal = torch.nn.functional.leaky_relu(r.tanh(), 0.1)
        signal = signal / (signal.square().sum(0, keepdim=True).sqrt() + 1e-8)
        return (torch.softmax(scale * signal, 1) * r).sum(1).mean()

    image_levels = [levels(w, f"{s}.image_pyramid", row, adaptive, False) for row in regions]
    scores = regions.new_zeros(len(regions), len(words))
    for text, row in enumerate(words):
        text_levels = levels(w, f"{s}.text_pyramid", row, adaptive, True)
        for image, of_image in enumerate(image_levels):
            r = sum(weights[k] * text_levels[k] @ forms[k] @ of_image[k].T for k in range(len(p)))
            scores[image, text] = attended(r) + attended(r.T)
    return scores


# --- AAHR


def layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]


def transformer_layer(w: Weights, name: str, x: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Attention of rows (n, width) to each other, then a small network, each added and normalised."""
    q, k, v = (x @ w[f"{name}.self_attn.in_proj_weight"].T + w[f"{name}.self_attn.in_proj_bias"]).chunk(3, 1)
    each = x.shape[1] // heads
    found = []
    for head in range(heads):
        part = slice(head * each, (head + 1) * each)
        logits = q[:, part] @ k[:, part].T / math.sqrt(each)
        found.append(torch.softmax(logits if bias is None else logits + bias, 1) @ v[:, part])
    x = layer_norm(w, f"{name}.norm1", x + linear(w, f"{name}.self_attn.out_proj", torch.cat(found, 1)))
    inner = linear(w, f"{name}.linear2", linear(w, f"{name}.linear1", x).clamp(min=0))
    return layer_norm(w, f"{name}.norm2", x + inner)


def fused(w: Weights, name: str, whole: Tensor, tokens: list[Tensor], heads: int, guided: int) -> tuple[Tensor, Tensor]:
    """z and l of each row: its two largest values with guided pooling, and a gate between that and the whole."""
    whole, z, local = linear(w, f"{name}.whole", whole), [], []
    for g, row in zip(whole, tokens, strict=True):
        h = transformer_layer(w, f"{name}.layer", row, heads)
        width = len(g)
        query, key = linear(w, f"{name}.guided.query", g), linear(w, f"{name}.guided.key", h)
        pooled_heads = []
        for head in range(guided):
            part = slice(head * width, (head + 1) * width)
            weights = torch.softmax(unit(key[:, part]) @ unit(query[part]), 0)
            pooled_heads.append(weights @ h)
        value = linear(w, f"{name}.guided.value", torch.cat(pooled_heads))
        l = 0.8 * row.topk(2, 0).values.mean(0) + 0.2 * value  # noqa: E741
        both = torch.cat([unit(l), unit(g)])
        share = torch.sigmoid(linear(w, f"{name}.gate.choose", both))
        z.append(share * unit(l) + (1 - share) * unit(g))
        local.append(l)
    return torch.stack(z), torch.stack(local)


def aahr_encoders(w: Weights, s: str, batch: dict[str, Any], heads: int, guided: int) -> dict[str, Any]:
    regions = region_map(w, batch["regions"], f"{s}image.project", *(f"{s}image.deep.{k}" for k in (0, 1, 3)))
    words = [linear(w, f"{s}text.project", states) for states in batch["words"]]
    image, local_image = fused(w, f"{s}image", batch["whole_images"], list(regions), heads, guided)
    text, local_text = fused(w, f"{s}text", batch["whole_texts"], words, heads, guided)
    return {"z": (image, text), "l": (unit(local_image), unit(local_text)), "regions": regions, "words": words}


def relations(found: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Image to text and text to image: means of what each region or word finds best, without a gradient."""
    i2t, t2i = torch.zeros(2, len(found["regions"]), len(found["words"]))
    with torch.no_grad():
        for i, regions in enumerate(found["regions"]):
            for t, words in enumerate(found["words"]):
                m = torch.nn.functional.leaky_relu(unit(words) @ unit(regions).T, 0.1)
                t2i[i, t] = (m / m.square().sum(0, keepdim=True).sqrt()).amax(1).mean()
                i2t[i, t] = (m / m.square().sum(1, keepdim=True).sqrt()).amax(0).mean()
    return i2t, t2i.T


def graph_terms(w: Weights, found: dict[str, Any], heads: int, noise: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    image, text = found["l"]
    i2t, t2i = relations(found)

    def near(nodes: Tensor) -> Tensor:
        return torch.exp(-(2 - 2 * nodes @ nodes.T).clamp(min=1e-8).sqrt())

    def half(block: Tensor) -> Tensor:
        kept = torch.zeros_like(block, dtype=torch.bool)
        for row, values in enumerate((block.detach() / 1e-4).round().tolist()):
            order = sorted(range(len(values)), key=lambda column: (-values[column], column))
            kept[row, order[: len(values) // 2]] = True
        return kept

    def convolved(relation: Tensor, nodes: Tensor, name: str) -> Tensor:
        given = relation @ nodes @ w[f"additions.graph.network.{name}.weight"].T
        return torch.nn.functional.leaky_relu(given + w[f"additions.graph.network.{name}.bias"], 0.2)

    whole = torch.cat([torch.cat([near(image), i2t], 1), torch.cat([t2i, near(text)], 1)])
    kept = torch.cat([torch.cat([half(image @ image.T), half(i2t)], 1), torch.cat([half(t2i), half(text @ text.T)], 1)])
    inner = torch.cat([convolved(near(image), image, "of_images"), convolved(near(text), text, "of_texts")])
    nodes = torch.cat([image, text]) + unit(convolved(whole, inner, "of_all"))
    bias = whole.masked_fill(~kept, -math.inf)
    other = unit(transformer_layer(w, "additions.graph.network.attention", nodes, heads, bias))
    other_image, other_text = other[: len(image)], other[len(image) :]
    pairs = ((image, other_text), (other_image, text), (other_image, other_text))
    total = sum((triplets(a @ b.T, noise) for a, b in pairs), start=image.new_zeros(()))
    guide = torch.exp(-(2 - 2 * image @ text.T).clamp(min=0).sqrt()).detach()
    held = image.new_zeros(())
    for relation, by in ((i2t, guide), (t2i, guide.T)):
        p = torch.softmax(relation, 1)
        held = held + (p * (torch.log_softmax(relation, 1) - torch.log_softmax(by, 1))).sum(1).mean()
    return total, held


def queue_term(queries: tuple[Tensor, Tensor], keys: tuple[Tensor, Tensor], queues: tuple[Tensor, Tensor]) -> Tensor:
    """Cross-entropy against a queue, a mean over the batch, both directions summed; keys and queues at unit length."""
    total = queries[0].new_zeros(())
    for own, key, queue in ((queries[0], keys[1], queues[1]), (queries[1], keys[0], queues[0])):
        logits = torch.cat([(own * key).sum(1, keepdim=True), own @ queue.T], 1) / 0.07
        total = total - torch.log_softmax(logits, 1)[:, 0].mean()
    return total


# --- the optimiser


class AdamW:
    """AdamW with torch's betas and epsilon, decay 1e-4 on everything, and one clip of all gradients at 2."""

    def __init__(self, weights: Weights, rate: Callable[[str], float]) -> None:
        self.weights, self.rate = weights, rate
        self.count = dict.fromkeys(weights, 0)  # as torch counts: steps that had a gradient
        self.first = {name: torch.zeros_like(value) for name, value in weights.items()}
        self.second = {name: torch.zeros_like(value) for name, value in weights.items()}

    def step(self, loss: Tensor) -> None:
        names = list(self.weights)
        found = torch.autograd.grad(loss, [self.weights[name] for name in names], allow_unused=True)
        gradients = {name: each for name, each in zip(names, found, strict=True) if each is not None}
        norm = torch.stack([each.square().sum() for each in gradients.values()]).sum().sqrt()
        shrink = min(1.0, 2.0 / (norm.item() + 1e-6))
        with torch.no_grad():
            for name, gradient in gradients.items():
                value, rate, g = self.weights[name], self.rate(name), gradient * shrink
                self.count[name] += 1
                value -= rate * 1e-4 * value
                self.first[name] = 0.9 * self.first[name] + 0.1 * g
                self.second[name] = 0.999 * self.second[name] + 0.001 * g * g
                first = self.first[name] / (1 - 0.9 ** self.count[name])
                second = self.second[name] / (1 - 0.999 ** self.count[name])
                value -= rate * first / (second.sqrt() + 1e-8)
