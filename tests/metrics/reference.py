"""Slow references, written from the definitions: full sorts and loops, no shared code with itm.metrics."""

import numpy as np


def ranked(scores: np.ndarray) -> np.ndarray:
    """[queries, gallery] items by falling score, equal scores by rising position."""
    return np.argsort(-np.asarray(scores, dtype=np.float64), axis=1, kind="stable")


def hit_rank(scores: np.ndarray, answers: list[set[int]], excluded: list[set[int]] | None = None) -> list[int]:
    """Rank from 0 of the first right answer in each query's list; the gallery's size when there is none."""
    found = []
    for query, order in enumerate(ranked(scores)):
        kept = [item for item in order.tolist() if not excluded or item not in excluded[query]]
        places = [place for place, item in enumerate(kept) if item in answers[query]]
        found.append(places[0] if places else scores.shape[1])
    return found


def at_r(order: list[int], answers: set[int], missing: int = 0) -> tuple[float, float]:
    """R-Precision and mAP@R of one list."""
    r = len(answers) + missing
    hits, total = 0, 0.0
    for place, item in enumerate(order[:r], start=1):
        if item in answers:
            hits += 1
            total += hits / place
    return hits / r, total / r


def kendall(x: np.ndarray, y: np.ndarray, variant: str) -> float:
    """Kendall's tau by comparing every pair."""
    n = len(x)
    agreement = tied_x = tied_y = 0
    for i in range(n):
        for j in range(i):
            a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
            agreement += a * b
            tied_x += a == 0
            tied_y += b == 0
    pairs = n * (n - 1) // 2
    if variant == "b":
        return agreement / np.sqrt(float(pairs - tied_x) * float(pairs - tied_y))
    m = min(len(set(x.tolist())), len(set(y.tolist())))
    return 2 * agreement / (n**2 * (m - 1) / m)


def radius_walk(images: np.ndarray, texts: np.ndarray, root: np.ndarray, levels: int) -> list[list[int]]:
    """HierarCaps step by step: at every level look at every text."""
    radius = [float(np.sqrt(((text - root) ** 2).sum())) for text in texts]
    walks = []
    for image in images:
        walk = []
        for limit in np.linspace(min(radius), max(radius), levels):
            best, choice = -np.inf, -1
            for number, text in enumerate(texts):
                score = float(image @ text)
                if radius[number] <= limit and score > best:
                    best, choice = score, number
            walk.append(choice)
        walks.append(walk)
    return walks


def line_walk(images: np.ndarray, texts: np.ndarray, root: np.ndarray, steps: int) -> list[list[int]]:
    """ProLIP's interpolation step by step, with every query embedded and scaled to unit length."""
    walks = []
    for image in images:
        start = texts[int(np.argmax([float(image @ text) for text in texts]))]
        walk = []
        for i in range(steps):
            query = start - i * (start - root) / steps
            query = query / np.linalg.norm(query)
            walk.append(int(np.argmax([float(query @ text) for text in texts])))
        walks.append(walk[::-1])
    return walks


def common_subsequence(walk: list[object], chain: list[set[object]]) -> int:
    """Longest common subsequence of a walk and a chain of reference sets, by recursion on both ends."""
    if not walk or not chain:
        return 0
    drop = max(common_subsequence(walk[:-1], chain), common_subsequence(walk, chain[:-1]))
    return max(drop, common_subsequence(walk[:-1], chain[:-1]) + 1) if walk[-1] in chain[-1] else drop
