"""An explorer, ready to answer, from folders."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from itm.data.layout import IMAGES
from itm.data.progress import counted
from itm.errors import ConfigError, first_few, printable
from itm.explore.matching import Explorer, Side, read_known_texts
from itm.explore.walk import Words
from itm.index.gallery import cores, counts_text, open_gallery
from itm.model import open_searchable

SPLITS = ("test", "hierarcaps")


def open_explorer(
    models: Sequence[Path],
    images: str,
    captions: Path,
    idf: Path,
    splits: Sequence[str] | None,
    threads: int | None,
    say: Callable[[str], None],
    backend: str = "torch",
) -> Explorer:
    """An explorer of one or two models over the images that `images` names; what takes long is said.

    Args:
        models: folders of trained models.
        images: see `itm.index.gallery.open_gallery`.
        captions: clean tables with the captions; if `images` are tables, those.
        idf: the score stage's table.
        splits: of the tables; None takes the test split and other benchmarks' photos.
        threads: None takes all cores.
        say: told what is done, and which images are left out.
        backend: who computes frozen towers.

    Raises:
        ConfigError: more than two models, or no such images.
        DataError, ModelError: a file is missing or damaged, or a model has no vectors.
    """
    if len(models) > 2:
        raise ConfigError(f"{len(models)} models; the page shows one or two", reason="too-many-models")
    threads = threads or cores()
    wanted = tuple(splits or SPLITS)
    gallery = open_gallery(images, wanted)
    if (Path(gallery.source) / IMAGES).is_file():
        captions = Path(gallery.source)
    texts = read_known_texts(captions, wanted)
    sides = []
    for folder in models:
        model = open_searchable(folder, threads, backend=backend)
        say(f"{model.name}: {len(gallery.names)} images, {len(texts.captions)} captions")
        with counted(model.name) as progress:
            sides.append(Side(model, gallery, texts, threads, progress))
    if gallery.left_out:
        say(f"left out: {counts_text(gallery.left_out)}")
    for name, fault in sides[0].broken:
        say(printable(f"left out: {name}: {fault}"))
    return Explorer(sides, gallery, texts, Words(idf))


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: the port is taken or not allowed (reason "port").
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"port {port}: {first_few([error.strerror])}; choose another with --port, or 0 for a free one",
            reason="port",
        ) from None
    return listening
