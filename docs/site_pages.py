"""Pages of the site that are no files of docs/: Home (the README), the API of each module, files that are linked to.

MkDocs calls the functions named `on_...`, see `hooks` in mkdocs.yml.
"""

import re
import sys
from collections.abc import Iterator
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
    reference += [
        {"Contracts": [_api_page(f"l2l_snn.{name}") for name in CONTRACTS]},
        {"Networks": [_api_page(name) for name in _public_modules("l2l_snn/snn")]},
        {"Optimizers": [_api_page(name) for name in _public_modules("optimizers")]},
        {"Optimizees": [_api_page(name) for name in _public_modules("optimizees")]},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as Home, a page for each module or package, and one for each file that a page links to."""
    pages = {"index.md": (ROOT / "README.md").read_text()}
    assert config.nav is not None
    reference = next(entry["Reference"] for entry in config.nav if "Reference" in entry)
    for section in reference:
        for pages_of_section in (value for value in section.values() if isinstance(value, list)):
            for title, path in (pair for entry in pages_of_section for pair in entry.items()):
                pages[path] = _api_text(PurePosixPath(path).stem, title)
    texts = {file.src_uri: file.content_string for file in files if file.is_documentation_page()} | pages
    for source, text in texts.items():
        for path in _links_out_of_docs(source, text):
            pages[f"source/{path}.md"] = _source_text(path)
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files of the repository lead to the pages that show them."""
    source = page.file.src_uri
    if source.startswith("source/"):
        return markdown
    return LINK.sub(lambda found: _target_on_site(source, found[1]), markdown)


def _api_page(module: str) -> dict[str, str]:
    title = module.removeprefix("l2l_snn.").removeprefix("optimizers.").removeprefix("optimizees.")
    return {title.removeprefix("snn."): f"reference/api/{module}.md"}


def _public_modules(folder: str) -> Iterator[str]:
    """Yield the modules and packages of a folder."""
    for path in sorted((ROOT / folder).iterdir()):
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists():
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _api_text(module: str, title: str) -> str:
    """Return the page of a module, or of a package with each of its modules."""
    path = ROOT.joinpath(*module.split("."))
    if not path.is_dir():
        return f"# {title}\n\n`{module}`\n\n::: {module}\n"
    inner = [f"{module}.{file.stem}" for file in sorted(path.glob("*.py")) if file.stem != "__init__"]
    first = f"{module}.optimizee"
    inner.sort(key=lambda name: name != first)
    return "\n".join(
        [f"# {title}", "", *(f"## {name}\n\n::: {name}\n    options: {{heading_level: 3}}\n" for name in inner)]
    )


def _source_text(path: str) -> str:
    """Return a page that shows a file of the repository."""
    file = ROOT / path
    if not file.is_file():
        raise FileNotFoundError(f"a page links to {path}, which is no file")
    head = "---\nsearch: {exclude: true}\nhide: [toc]\n---\n"
    return f"{head}# {path}\n\n````{LANGUAGES.get(file.suffix, 'text')}\n{file.read_text().rstrip()}\n````\n"


def _place_in_repository(source: str, target: str) -> str:
    """Return the path of a link's target from the repository's root; `source` is the page, as a path in docs/."""
    return normpath(target) if source == "index.md" else normpath(f"docs/{PurePosixPath(source).parent}/{target}")


def _links_out_of_docs(source: str, text: str) -> Iterator[str]:
    for target in LINK.findall(text):
        if "://" not in target and not target.startswith("mailto:"):
            path = _place_in_repository(source, target)
            if not path.startswith("docs/"):
                yield path


def _target_on_site(source: str, target: str) -> str:
    if "://" in target or target.startswith("mailto:"):
        return target
    path = _place_in_repository(source, target)
    page = path.removeprefix("docs/") if path.startswith("docs/") else f"source/{path}.md"
    return relpath(page, PurePosixPath(source).parent)
