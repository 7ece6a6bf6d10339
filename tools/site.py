"""What mkdocs does not find in docs/: the pages at the root, and one for each package."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / "src" / "molehunt"
# Of a page at the root, its name on the site.
AT_THE_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
# Packages and modules that no user imports from.
_INNER = {"arrays", "cli", "confine", "files", "plotting", "progress"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Enter the pages of the packages in the navigation."""
    (library,) = (entry["Library"] for entry in config.nav if "Library" in entry)
    library += ["api/index.md", *(f"api/{name}.md" for name in _summaries())]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    pages = {
        name: _from_docs((ROOT / source).read_text(encoding="utf-8"))
        for source, name in AT_THE_ROOT.items()
    }
    summaries = _summaries()
    rows = [f"| [molehunt.{name}]({name}.md) | {said} |" for name, said in summaries.items()]
    table = "\n".join(["| package | what |", "| --- | --- |", *rows])
    pages["api/index.md"] = f"# molehunt\n\n::: molehunt\n\n## Packages\n\n{table}\n"
    for name in summaries:
        pages[f"api/{name}.md"] = f"# molehunt.{name}\n\n::: molehunt.{name}\n"
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Let links of docs/ to pages at the root lead to their places on the site."""
    for source, name in AT_THE_ROOT.items():
        markdown = re.sub(rf"\]\((?:\.\./)+{source}", f"]({name}", markdown)
    return markdown


def _from_docs(text: str) -> str:
    """Return a page of the root with its links as they are from docs/."""
    text = text.replace("](docs/", "](")
    for source, name in AT_THE_ROOT.items():
        text = text.replace(f"]({source}", f"]({name}")
    return text


def _summaries() -> dict[str, str]:
    """Return the packages and public modules, each with the first line of its docstring."""
    found = {}
    for path in sorted(PACKAGES.iterdir()):
        module = path / "__init__.py" if path.is_dir() else path
        name = path.stem
        if name.startswith("_") or name in _INNER or module.suffix != ".py":
            continue
        if module.exists():
            said = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
            found[name] = said.partition("\n")[0]
    return found
