"""Numbers of parameters, counted on models that are built with random weights and thrown away, and their memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from itm.config import Parameters
from itm.errors import ModelError
from itm.runs.plan.lines import Line

REGION_WIDTH = 2048
"""Width of BUTD's region features."""


@dataclass(frozen=True)
class Models:
    """Numbers of parameters, and the widths of what towers give.

    Attributes:
        towers: None where they cannot be built; `error` says why.
        heads: what a method trains beside the towers.
        kept: numbers that a method keeps in training and does not train: its twin (with towers, where these are
            trained), queues, statistics of normalisation.
        rates: seconds of one core that frozen towers take for an image and for a text, tried here.
    """

    towers: int | None
    heads: dict[str, int]
    kept: dict[str, int]
    widths: tuple[int, int, int, int] | None
    image_tokens: int | None
    error: str = ""
    rates: tuple[float, float] | None = None


def count_parameters(parameters: Parameters) -> Models:
    """Build towers and methods with random weights, and count. Takes seconds, and torch."""
    from itm.methods.build import build_method
    from itm.methods.method import Widths
    from itm.towers.build import build_towers
    from itm.towers.hugging_face import width_of

    # a hub's weights need not be fetched to be counted
    towers_parameters = parameters.towers.model_copy(update={"open_clip_weights": ""})
    logging.disable(logging.WARNING)  # open_clip warns of weights that were not asked for
    try:
        towers = build_towers(towers_parameters, ["a"])
    except ModelError as error:
        return Models(None, {}, {}, None, None, f"the towers cannot be built here: {error}")
    finally:
        logging.disable(logging.NOTSET)
    widths = (towers.image_width, towers.text_width, towers.image_token_width, towers.text_token_width)
    given = (widths[0], widths[1], REGION_WIDTH if parameters.regions.use else widths[2], widths[3])
    heads, kept = {}, {}
    for name in parameters.methods:
        options = parameters.method[name]
        added = options.add.descriptions
        embedding = parameters.of(name).embedding
        width, prototypes = (0, 0) if added is None else (embedding.dimension, max(added.prototypes, 2))
        words = options.add.words
        if words is not None:
            try:
                given = (*given[:3], width_of(words.model))
            except ModelError as error:  # the rest can be counted all the same
                logging.getLogger(__name__).warning("not counted: %s", error)
                options = options.model_copy(update={"add": options.add.model_copy(update={"words": None})})
                given = (*given[:3], 768)
        method = build_method(options, embedding, Widths(*given, description_width=width, prototypes=prototypes))
        if method.words is not None:
            for addition in method.added.values():
                addition.watch(method.words)
        if not parameters.towers.frozen:
            for addition in method.added.values():
                addition.watch(towers)
        heads[name] = sum(each.numel() for each in method.parameters() if each.requires_grad)
        kept[name] = sum(each.numel() for each in (*method.parameters(), *method.buffers())) - heads[name]
    return Models(
        sum(each.numel() for each in towers.parameters()),
        heads,
        kept,
        widths,
        _image_tokens(towers),
        rates=_rates(towers) if parameters.towers.frozen else None,
    )


def _image_tokens(towers: Any) -> int | None:
    import torch

    with torch.no_grad():
        side = towers.image_size
        tokens = towers.eval().image(torch.zeros(1, 3, side, side)).tokens
    return None if tokens is None else int(tokens.shape[1])


_FEW, _MANY, _QUICK = 16, 256, 0.1
_CAPTION = "a man in a red shirt rides his bicycle down the street"


def _rates(towers: Any) -> tuple[float, float]:
    """Seconds of one core for an image and for a text, from pixels and from the text itself: of a batch of 16, or where
    that takes no time, of 256."""
    import torch

    def image(count: int) -> None:
        side = towers.image_size
        towers.image(towers.preprocess(torch.zeros((count, side, side, 3), dtype=torch.uint8)))

    def text(count: int) -> None:
        towers.text(torch.from_numpy(towers.tokenize([_CAPTION] * count)))

    def seconds(run: Callable[[int], None], count: int) -> float:
        start = time.process_time()
        run(count)
        return (time.process_time() - start) / count

    def rate(run: Callable[[int], None]) -> float:
        run(1)
        few = seconds(run, _FEW)
        return few if few > _QUICK / _FEW else seconds(run, _MANY)

    with torch.inference_mode():
        return rate(image), rate(text)


def memory(parameters: Parameters, models: Models) -> Iterator[Line]:
    """Of a training; of the method that takes most."""
    if models.towers is None:
        yield Line("parameters", None, models.error)
        return
    trained = 0 if parameters.towers.frozen else models.towers
    largest = max(parameters.methods, key=lambda method: 4 * models.heads[method] + models.kept[method])
    count, kept = trained + models.heads[largest], models.kept[largest]
    yield Line("parameters trained", count, f"{largest}, counted on the model with random weights", "count")
    yield Line(
        "weights and AdamW", 16 * count, "formula: 4 numbers of 4 bytes a parameter (weight, gradient, two moments)"
    )
    if kept:
        what = f"{largest}: a momentum twin, queues, statistics: what is kept and not trained, 4 bytes a number"
        yield Line("kept beside", 4 * kept, what)
    train = parameters.of(largest).train
    batch = f"{train.batch_images} images x {train.captions_per_image} captions"
    yield Line(
        "activations",
        None,
        f"grow with the batch ({batch}); train.chunk_images and train.gradient_checkpointing bound them",
    )
