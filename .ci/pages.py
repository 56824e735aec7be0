"""The site's pages that docs/ lacks: pages of other folders, and the public names with their first lines (mkdocs)."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
BESIDE = {
    "changes.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "data-sets.md": "data/README.md",
    "regions.md": "data/regions/README.md",
}
"""Pages of the site, and where in the repository they lie."""
PUBLIC = ("itm", "itm.metrics", "itm.grading", "itm.evaluation.published", "itm.config")
"""What is imported from elsewhere: packages with a list of names."""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages."""
    for name, source in BESIDE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "reference.md", content=reference()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links by the places in the repository become links of the site; those to what is no page, their text."""
    return rewritten(markdown, page.file.src_uri)


def on_post_build(config: Any) -> None:
    """Take out of the theme's program what it would load from another host: diagrams, and parts that browsers have."""
    for program in Path(config.site_dir).rglob("*.js"):
        text = program.read_text(encoding="utf-8")
        program.write_text(re.sub(r"https://unpkg\.com/[^\"'`]*", "", text), encoding="utf-8")
    for source in Path(config.site_dir).rglob("*.map"):
        source.unlink()


def rewritten(text: str, page: str) -> str:
    """A page's text with links that hold on the site.

    >>> rewritten("[terms](../data/README.md#a), [code](../Makefile), [no](no.md)", "data.md")
    '[terms](data-sets.md#a), code, [no](no.md)'
    >>> rewritten("[own](../docs/own-data.md)", "data-sets.md")
    '[own](own-data.md)'
    """
    folder = Path(page).parent
    here = ROOT / BESIDE.get(page, f"docs/{page}")
    sites = {source: name for name, source in BESIDE.items()}

    def link(found: re.Match[str]) -> str:
        label, target, anchor = found.groups(default="")
        place = os.path.relpath(here.parent / target, ROOT)
        if place in sites:
            return f"[{label}]({os.path.relpath(sites[place], folder)}{anchor})"
        if place.startswith("docs/"):
            return f"[{label}]({os.path.relpath(place, Path('docs') / folder)}{anchor})"
        return label if (ROOT / place).exists() else found[0]

    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!\w+:)([^)\s#]+)(#[^)\s]*)?\)", link, text)


def reference() -> str:
    """The page of public names, each with the first line of its documentation, read without importing anything."""
    lines = ["# Python reference", "", "`help(name)` tells the rest."]
    for package in PUBLIC:
        tree = _tree(package)
        lines += ["", f"## `{package}`", "", ast.get_docstring(tree).splitlines()[0], "", "| name | |", "|---|---|"]
        lines += [f"| `{name}` | {first.replace('|', chr(92) + '|')} |" for name, first in _names(tree)]
    return "\n".join(lines) + "\n"


def _tree(module: str) -> ast.Module:
    path = ROOT / "src" / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def _names(tree: ast.Module) -> list[tuple[str, str]]:
    """Names of `__all__`, or the functions and classes of a module without, where they are documented."""
    origins = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    own = _documented(tree)
    stated = [node.value for node in tree.body if isinstance(node, ast.Assign) and _target(node) == "__all__"]
    names = ast.literal_eval(stated[0]) if stated else [name for name in own if name.islower() and name[0] != "_"]
    found = []
    for name in sorted(names, key=str.lower):
        module, original = origins.get(name, ("", name))
        found.append((name, (_documented(_tree(module)) if module else own).get(original, "")))
    return found


def _documented(tree: ast.Module) -> dict[str, str]:
    """The first line of what documents each function, class and constant."""
    found = {}
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = (ast.get_docstring(node) or "").partition("\n")[0]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr):
            text = after.value.value if isinstance(after.value, ast.Constant) else ""
            found[_target(node)] = str(text).strip().partition("\n")[0]
    return found


def _target(node: ast.Assign | ast.AnnAssign) -> str:
    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
    return target.id if isinstance(target, ast.Name) else ""
