"""What a score of one pair costs, by method: what stands beside accuracy where a method looks at pairs."""

from __future__ import annotations

from dataclasses import dataclass

from itm.report.results import Results


@dataclass(frozen=True)
class Cost:
    """A method's similarity ("dot" or "pairwise"), its multiplications and additions a pair, and which pairs were
    scored exactly: all, or a shortlist with the share of queries that have an answer on it."""

    method: str
    similarity: str
    multiply_adds: str
    scored: str


def costs(results: Results) -> list[Cost]:
    """One row a method, of its first seed; none where every method scores by inner product."""
    benchmark = "retrieval" if "retrieval" in results.benchmarks else results.benchmarks[0]
    found = []
    for method in results.methods:
        protocol = results.protocols[method, results.seeds[0], benchmark]
        similarity = str(protocol.get("similarity", "dot"))
        taken = protocol.get("multiply_adds_a_pair", protocol.get("width"))
        shortlist = protocol.get("shortlist")
        scored = "all pairs"
        if shortlist:
            recall = ", ".join(f"{name} {100 * value:.1f} %" for name, value in shortlist["recall"].items())
            scored = f"the best {shortlist['candidates']} stand-ins; an answer among them: {recall}"
        found.append(Cost(method, similarity, "–" if taken is None else f"{taken:,}", scored))
    return found if any(row.similarity == "pairwise" for row in found) else []
