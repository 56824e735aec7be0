"""`itm data`: data sets and their files, listed, fetched and verified."""

from __future__ import annotations

import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from itm.config.project import definitions
from itm.data.catalogue import CATALOGUE, Catalogue, DataSet, SourceFile, find_file, load_catalogue
from itm.errors import ConfigError, DataError, ProjectError, nearest, size_text

app = typer.Typer(
    name="data",
    help="Data sets of the catalogue (data/catalogue.yaml): what they are, fetch them, verify them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set; `itm list data` names them.")]
Files = Annotated[list[str] | None, typer.Argument(metavar="[FILE]...", help="Only these of its files.")]
Folder = Annotated[Path | None, typer.Option("--out", help="Folder of the files; without it data/raw/NAME.")]


def _catalogue() -> Catalogue:
    """The catalogue of the project around this folder, or the one that the package brings along."""
    return load_catalogue(definitions() / CATALOGUE)


@app.command("list", hidden=True)
def list_sets() -> None:
    """Name every data set with its size and what it is for, one a line."""
    catalogue = _catalogue()
    width = max(map(len, catalogue))
    for name, entry in catalogue.items():
        typer.echo(f"{name:{width}}  {_total(entry):>9}  {entry.title}: {entry.use}")


@app.command()
def info(name: Name) -> None:
    """Show a data set's files, licence, citation, and how to get what no machine may fetch."""
    entry = _data_set(_catalogue(), name)
    typer.echo(f"{name}: {entry.title}")
    for label, text in (("use", entry.use), ("licence", entry.licence), ("cite", entry.citation), ("home", entry.home)):
        if text:
            typer.echo(textwrap.fill(text, 110, initial_indent=f"  {label:8} ", subsequent_indent=" " * 11))
    folder = Path("data/raw") / name
    for file, source in entry.files.items():
        there = "here" if (folder / file).is_file() else "optional" if source.optional else "not here"
        typer.echo(f"  {file}  {_size(source)}, {there}")
        for line in _origins(source):
            typer.echo(f"    {line}")


@app.command()
def fetch(name: Name, files: Files = None, out: Folder = None, jobs: int = 4) -> None:
    """Fetch the files of a data set side by side, mirror (ITM_MIRROR) first; what is right already stays."""
    from itm.data.download import Report
    from itm.data.download import fetch as fetch_file
    from itm.data.progress import byte_bars

    wanted = _chosen(name, files)
    folder = out or Path("data/raw") / name

    def one(item: tuple[str, SourceFile], report: Report) -> str | ProjectError:
        file, source = item
        try:
            found = fetch_file(name, file, source, folder / file, report=report)
        except ProjectError as error:
            return error
        seen = "; checksum recorded at first sight" if found.first_seen else ""
        return f"{file}: {found.bytes} bytes, {found.origin}{seen}"

    with byte_bars() as report, ThreadPoolExecutor(max(1, jobs)) as pool:
        results = list(pool.map(lambda item: one(item, report), wanted.items()))
    _tell(results, "fetched")


@app.command()
def verify(name: Name, files: Files = None, out: Folder = None) -> None:
    """Compare the files that are here with the catalogue's checksums, and archives with the rules of safety."""
    from itm.data.archives import Archive
    from itm.data.download import verify as verify_file

    folder = out or Path("data/raw") / name
    results: list[str | ProjectError] = []
    for file, source in _chosen(name, files).items():
        try:
            digest = verify_file(name, file, source, folder / file)
            if file.endswith((".zip", ".tar", ".tar.gz")):
                Archive(folder / file).close()
            results.append(f"{file}: sha256 {digest}")
        except ProjectError as error:
            results.append(error)
    _tell(results, "verified")


def _chosen(name: str, files: list[str] | None) -> dict[str, SourceFile]:
    """The named files, or all that the pipeline reads and that are not generated here."""
    catalogue = _catalogue()
    entry = _data_set(catalogue, name)
    if files:
        return {file: find_file(catalogue, name, file) for file in files}
    chosen = {file: source for file, source in entry.files.items() if not (source.optional or source.generated)}
    if not chosen:
        raise ConfigError(f"data set '{name}' is generated; run `dvc repro download`", reason="generated")
    return chosen


def _data_set(catalogue: Catalogue, name: str) -> DataSet:
    if name not in catalogue:
        raise ConfigError(f"no data set '{name}'; {nearest(name, catalogue)}", reason="unknown-data-set")
    return catalogue[name]


def _tell(results: list[str | ProjectError], done: str) -> None:
    """Print what went well, then stop with everything that did not."""
    bad = [result for result in results if isinstance(result, ProjectError)]
    for result in results:
        if isinstance(result, str):
            typer.echo(result)
    if bad:
        raise DataError(
            f"{len(bad)} of {len(results)} files not {done}\n" + "\n".join(str(error) for error in bad),
            reason=bad[0].reason,
        )


def _total(entry: DataSet) -> str:
    sizes = [source.bytes for source in entry.files.values() if not source.optional]
    if all(source.generated for source in entry.files.values()):
        return "generated"
    known = sum(size or 0 for size in sizes)
    return ("" if None not in sizes else "> ") + size_text(known) if known else "?"


def _size(source: SourceFile) -> str:
    if source.generated:
        return "generated"
    return "size not published" if source.bytes is None else size_text(source.bytes)


def _origins(source: SourceFile) -> list[str]:
    lines = [source.note] if source.note else []
    lines += [f"by hand: {source.manual}"] if source.manual else []
    lines += [f"installed package: {source.package}"] if source.package else []
    lines += source.urls
    for copy in source.mirror:
        note = f" ({copy.note})" if copy.note else ""
        lines.append(f"ITM_MIRROR/{copy.path}{note}")
    return lines
