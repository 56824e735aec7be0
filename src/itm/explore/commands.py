"""`itm explore`: the explorer, started from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

explore_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

HOST = "127.0.0.1"


@explore_app.command()
def explore(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL [MODEL2]", help="One or two trained models, models/METHOD/seedN.")
    ],
    images: Annotated[
        str, typer.Option(help="A folder of photos, a folder of clean tables, or the data set's name (data/clean).")
    ],
    split: Annotated[
        list[str] | None, typer.Option(help="Splits of the tables to show; may be given several times.")
    ] = None,
    captions: Annotated[
        Path, typer.Option(help="Clean tables whose captions photos are matched with.", metavar="FOLDER")
    ] = Path("data/clean"),
    idf: Annotated[Path, typer.Option(help="The idf table of the score stage.")] = Path("data/scored/idf.parquet"),
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 8765,
    threads: Annotated[int | None, typer.Option(help="Threads; without it all cores.", min=1)] = None,
    backend: Annotated[
        str, typer.Option(help="Who computes frozen towers: torch, torch-bfloat16, onnxruntime.")
    ] = "torch",
) -> None:
    """Look at graded matches in the browser: texts, photos, the walk from generic to specific, two models.

    The page is served to this machine only (127.0.0.1), to whoever knows the printed address, and loads nothing from
    elsewhere. Ctrl-C ends it.
    """
    import secrets

    import uvicorn

    from itm.explore.app import build_app
    from itm.explore.start import listen, open_explorer

    folders = [Path(model) for model in models]
    with listen(HOST, port) as socket:  # a taken port is said before anything is computed
        explorer = open_explorer(
            folders, images, captions, idf, split, threads, lambda line: typer.echo(line, err=True), backend
        )
        taken = socket.getsockname()[1]
        token = secrets.token_urlsafe(24)
        application = build_app(explorer, token)
        socket.listen()  # who follows the address at once waits for the server, and is not turned away
        typer.echo(f"http://{HOST}:{taken}/?token={token}")
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", ws="none", server_header=False))
        server.run(sockets=[socket])
