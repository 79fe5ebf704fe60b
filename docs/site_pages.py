"""Pages of the site that are no files of docs/: Home (the README), the API of each module, files that are linked to.

MkDocs calls the functions named `on_...`, see `hooks` in mkdocs.yml.
"""

import re
import sys
from collections.abc import Iterator
from functools import cache
from os.path import normpath, relpath
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<=\]\()([^)#\s]+)(?=[)#])")  # the target of a Markdown link, without its anchor
LANGUAGES = {".py": "python", ".yaml": "yaml", ".md": "markdown", ".toml": "toml", ".sh": "sh"}
CONTRACTS = ("optimizee", "optimizer", "evaluation", "space", "seeding", "search", "results.tables", "checks")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the API of each module into the navigation."""
    sys.path.append(str(ROOT / "docs"))  # for docstrings.py; MkDocs forgets what is put there before
    config.watch += [str(ROOT / folder) for folder in ("l2l_snn", "optimizers", "optimizees")]
    assert config.nav is not None
    reference = next(entry["Reference"] for entry in config.nav if "Reference" in entry)
    reference += [{title: [{_short(name): _api_page(name)} for name in names]} for title, names in api().items()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as Home, a page for each module or package, and one for each file that a page links to."""
    pages = {"index.md": (ROOT / "README.md").read_text()}
    pages |= {_api_page(name): _api_text(name) for names in api().values() for name in names}
    texts = {file.src_uri: file.content_string for file in files if file.is_documentation_page()} | pages
    for source, text in texts.items():
        for target in LINK.findall(text):
            path = _place_in_repository(source, target)
            if path and _page_of(path).startswith("source/"):
                pages[_page_of(path)] = _source_text(path)
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files of the repository lead to the pages that show them."""
    source = page.file.src_uri
    if source.startswith(("source/", "reference/api/")):
        return markdown
    if markdown.count("\n#") == 1:
        page.meta["hide"] = ["toc"]  # which has no entries: the room is for the page's table
    return LINK.sub(lambda found: _target_on_site(source, found[1]), markdown)


@cache
def api() -> dict[str, list[str]]:
    """Return the modules and packages that have a page: title of a section -> their names."""
    return {
        "Contracts": [f"l2l_snn.{name}" for name in CONTRACTS],
        "Networks": list(_public_modules("l2l_snn/snn")),
        "Optimizers": list(_public_modules("optimizers")),
        "Optimizees": list(_public_modules("optimizees")),
    }


def _short(module: str) -> str:
    return re.sub(r"^(l2l_snn\.snn|l2l_snn|optimizers|optimizees)\.", "", module)


def _api_page(module: str) -> str:
    return f"reference/api/{module}.md"


def _page_of(path: str) -> str:
    """Return the page that shows a file of the repository: one of docs/, Home, the API of a module, or its text."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    name = path.removesuffix(".py").replace("/", ".")
    shown = {module for modules in api().values() for module in modules}
    pages = [
        _api_page(module) for module in (name, name.rpartition(".")[0]) if module in shown and path.endswith(".py")
    ]
    return "index.md" if path == "README.md" else pages[0] if pages else f"source/{path}.md"


def _public_modules(folder: str) -> Iterator[str]:
    """Yield the modules and packages of a folder."""
    for path in sorted((ROOT / folder).iterdir()):
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists():
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _api_text(module: str) -> str:
    """Return the page of a module, or of a package with each of its modules."""
    path = ROOT.joinpath(*module.split("."))
    head = f"# {_short(module)}\n\n`{module}`\n\n::: {module}\n"
    if not path.is_dir():
        return head
    inner = [f"{module}.{file.stem}" for file in sorted(path.glob("*.py")) if file.stem != "__init__"]
    inner.sort(key=lambda name: not name.endswith(".optimizee"))
    parts = [f"## {name}\n\n::: {name}\n    options: {{heading_level: 3}}\n" for name in inner]
    return "\n".join([f"{head}    options: {{members: false}}\n", *parts])


def _source_text(path: str) -> str:
    """Return a page that shows a file of the repository."""
    file = ROOT / path
    if not file.is_file():
        raise FileNotFoundError(f"a page links to {path}, which is no file")
    head = "---\nsearch: {exclude: true}\nhide: [toc]\n---\n"
    return f"{head}# {path}\n\n````{LANGUAGES.get(file.suffix, 'text')}\n{file.read_text().rstrip()}\n````\n"


def _place_in_repository(source: str, target: str) -> str:
    """Return the path of a link's target from the repository's root, "" of one that leads elsewhere.

    Args:
        source: the page, as a path in docs/; index.md is the README.
        target: as the page has it.
    """
    if "://" in target or target.startswith("mailto:"):
        return ""
    return normpath(target if source == "index.md" else f"docs/{PurePosixPath(source).parent}/{target}")


def _target_on_site(source: str, target: str) -> str:
    path = _place_in_repository(source, target)
    return relpath(_page_of(path), PurePosixPath(source).parent) if path else target
