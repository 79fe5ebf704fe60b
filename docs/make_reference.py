"""Make the pages of docs/reference/ from the code: python docs/make_reference.py (`make docs` does it first).

The job's keys come from the fields of `l2l_snn.loop.job`, commands from Typer's, columns from the docstrings of
`l2l_snn.results.tables`, optimizers from the files of optimizers/. tests/test_reference.py compares the pages with
what the code says now.
"""

import ast
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs/reference"
CITED = re.compile(  # Deb & Goyal (1996); Deb, Pratap, Agarwal & Meyarivan (2002); Yegenoglu et al. 2022
    r"(?P<first>[A-Z][\w-]+(?: [A-Z][\w-]+)?)(?P<more>(?:, [A-Z][\w -]+)*)"
    r"(?: & (?P<second>[A-Z][\w -]+?)|(?P<many> et al)\.)? \(?(?P<year>(?:19|20)\d\d)\b"
)


def pages() -> dict[str, str]:
    """Return the text of each page: name -> Markdown."""
    return {
        "jobs": _with_head(jobs(), "l2l_snn/loop/job.py"),
        "commands": _with_head(commands(), "l2l_snn/cli/"),
        "tables": _with_head(tables(), "l2l_snn/results/tables.py"),
        "optimizers": _with_head(optimizers(), "optimizers/"),
    }


def jobs() -> str:
    """Return the page of the job file's keys."""
    from l2l_snn.loop.job import Job

    schema = Job.model_json_schema()
    smoke = (ROOT / "jobs/smoke.yaml").read_text().split("\n", 1)[1]
    parts = [JOBS.format(smoke=smoke.rstrip()), _keys_table(Job, schema, schema)]
    for name, field in Job.model_fields.items():
        group = next((cls for cls in _classes_in(field.annotation) if hasattr(cls, "model_fields")), None)
        if group is not None:
            parts.append(f"## `{name}`\n\n{inspect.cleandoc(str(group.__doc__))}")
            parts.append(_keys_table(group, schema["$defs"][group.__name__], schema))
    return "\n\n".join([*parts, MORE_JOBS])


def commands() -> str:
    """Return the page of the commands."""
    from l2l_snn.cli import app

    found = {
        command.name or str(command.callback.__name__): command.callback
        for command in app.registered_commands
        if command.callback
    }
    listed = [(f"[`l2l {name}`](#l2l-{name})", _first_sentence(str(call.__doc__))) for name, call in found.items()]
    parts = [COMMANDS, _table(("command", "what it does"), listed)]
    for name, call in found.items():
        parameters = _parameters(call)
        arguments = [names for names, _, _ in parameters if not names.startswith("`-")]
        usage = " ".join(["l2l", name, *(argument.strip("`") for argument in arguments), "[OPTIONS]"])
        parts += [f"## l2l {name}", inspect.cleandoc(str(call.__doc__)), f"```sh\n{usage}\n```"]
        parts.append(_table(("argument or option", "meaning", "default"), parameters))
    return "\n\n".join([*parts, MORE_COMMANDS])


def tables() -> str:
    """Return the page of the tables' columns."""
    from l2l_snn.results import tables as module

    parts = [TABLES]
    for function in (module.runs, module.generations, module.individuals):
        text = inspect.cleandoc(str(function.__doc__))
        columns = re.findall(r"^ +- `([^`]+)`: (.+\n(?:^ {6,}.+\n)*)", text + "\n", re.MULTILINE)
        rows = [(f"`{name}`", " ".join(meaning.split())) for name, meaning in columns]
        parts += [f"## `{function.__name__}`", _first_sentence(text), _table(("column", "meaning"), rows)]
    return "\n\n".join(parts)


def optimizers() -> str:
    """Return the page of the optimizers."""
    rows, classes = [], list(optimizer_classes())
    for module, cls in classes:
        alone = sum(other is module for other, _ in classes) == 1
        algorithm, _, what = _first_sentence((module if alone else cls).__doc__).partition(": ")
        stem = module.__name__.split(".")[1]
        name = f"[`{stem}:{cls.__name__}`](../../optimizers/{stem}.py)"
        jobs = [f"[{job.stem}](../../jobs/{job.name})" for job in _jobs_of(f"{module.__name__}:{cls.__name__}")[:3]]
        text = f"{algorithm}: {what}" if what else algorithm
        rows.append((name, text, ", ".join(papers(module)), ", ".join(jobs)))
    return f"{OPTIMIZERS}\n\n" + _table(("class and file", "algorithm", "papers", "jobs"), rows)


def optimizer_classes() -> Iterator[tuple[Any, type]]:
    """Yield each optimizer of optimizers/ with its module."""
    from l2l_snn.optimizer import Optimizer

    for path in sorted((ROOT / "optimizers").glob("[!_]*.py")):
        module = importlib.import_module(f"optimizers.{path.stem}")
        for cls in vars(module).values():
            own = inspect.isclass(cls) and issubclass(cls, Optimizer) and cls.__module__ == module.__name__
            if own and not inspect.isabstract(cls):
                yield module, cls


def papers(module: Any) -> list[str]:
    """Return what a module's docstring cites in its second paragraph: "Deb et al. 2002"."""
    paragraph = " ".join(str(module.__doc__).split("\n\n")[1].split())
    cited = []
    for found in CITED.finditer(paragraph):
        several = found["more"] or found["many"]
        others = " et al." if several else f" & {found['second']}" if found["second"] else ""
        cited.append(f"{found['first']}{others} {found['year']}")
    return list(dict.fromkeys(cited))


def _jobs_of(address: str) -> list[Path]:
    """Return the jobs that an optimizer runs, those of Mountain Car first: they are alike but for the optimizer."""
    found = [path for path in (ROOT / "jobs").glob("*.yaml") if f"class: {address}\n" in path.read_text()]
    return sorted(found, key=lambda path: (not path.stem.startswith("mountain_car"), path))


def _keys_table(model: Any, schema: dict[str, Any], whole: dict[str, Any]) -> str:
    comments = _comments(model)
    rows = []
    for name, entry in schema["properties"].items():
        group = _group(entry)
        kind = f"[group](#{name})" if group else _kind(entry)
        default = "required" if name in schema.get("required", ()) else "none" if group else _yaml(entry.get("default"))
        text = comments.get(name) or (inspect.cleandoc(whole["$defs"][group]["description"]) if group else "")
        rows.append((f"`{name}`", kind, default, text.rstrip(".")))
    return _table(("key", "value", "default", "meaning"), rows)


def _comments(cls: type) -> dict[str, str]:
    """Return the comment behind each field of a class."""
    lines = inspect.getsource(cls).splitlines()
    tree = ast.parse("\n".join(lines)).body[0]
    assert isinstance(tree, ast.ClassDef)
    fields = [node for node in tree.body if isinstance(node, ast.AnnAssign)]
    found = {node.target.id: lines[(node.end_lineno or 0) - 1] for node in fields if isinstance(node.target, ast.Name)}
    return {name: line.partition("  # ")[2] for name, line in found.items()}


def _kind(entry: dict[str, Any]) -> str:
    """Return what values a JSON schema allows, in words."""
    if "anyOf" in entry:
        return " or ".join(_kind(one) for one in entry["anyOf"] if one.get("type") != "null")
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    name = {"boolean": "`true` or `false`", "string": "text", "object": "mapping"}.get(entry["type"], entry["type"])
    low, high = entry.get("minimum"), entry.get("maximum")
    if low is not None and high is not None:
        return f"{name} in [{low}, {high}]"
    above = entry.get("exclusiveMinimum")
    return f"{name} ≥ {low}" if low is not None else f"{name} > {above}" if above is not None else name


def _group(entry: dict[str, Any]) -> str:
    """Return the name of the class that a schema refers to, "" where it refers to none."""
    references = [one["$ref"] for one in (entry, *entry.get("anyOf", ())) if "$ref" in one]
    return references[0].rpartition("/")[2] if references else ""


def _classes_in(annotation: Any) -> Iterable[type]:
    return (cls for cls in (annotation, *getattr(annotation, "__args__", ())) if inspect.isclass(cls))


def _yaml(value: Any) -> str:
    return "none" if value is None or value == {} else json.dumps(value).strip('"')


def _parameters(call: Callable) -> list[tuple[str, str, str]]:
    """Return a row of each argument and option of a command: how it is written, its help, its default."""
    from typer.models import ArgumentInfo

    rows = []
    hints = get_type_hints(call, include_extras=True)
    for name, parameter in inspect.signature(call).parameters.items():
        kind, info = get_args(hints[name])[:2]
        kinds = [one for one in (get_args(kind) or (kind,)) if one is not NoneType]
        default = parameter.default
        shown = "" if default in (None, False, inspect.Parameter.empty) else f"`{default}`"
        if isinstance(info, ArgumentInfo):
            rows.append((f"`{info.metavar or name.upper()}`", info.help or "", shown))
            continue
        option = f"--{name.replace('_', '-')}"
        if default is True:
            names, shown = f"`{option}`, `--no-{name}`", f"`{option}`"
        else:
            first = (info.default,) if str(info.default).startswith("-") else ()  # Typer puts the first name there
            names = ", ".join(f"`{one}`" for one in (*first, *(info.param_decls or ())) or (option,))
            names += "" if kinds[0] is bool else f" {_value_name(kinds[0], info)}"
        variables = [info.envvar] if isinstance(info.envvar, str) else info.envvar or []
        text = (info.help or "") + (f" Environment: {' or '.join(map('`{}`'.format, variables))}." if variables else "")
        rows.append((names, text, shown))
    return rows


def _value_name(kind: Any, info: Any) -> str:
    """Return how an option's value is written: "`RUN`", "`csv` or `parquet`"."""
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return " or ".join(f"`{one.value}`" for one in kind)
    name = {int: "N", float: "NUMBER", Path: "PATH"}.get(kind, "TEXT")
    return f"`{info.metavar or name}`"


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", " ".join(str(text).split()))[0]


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _with_head(text: str, source: str) -> str:
    return f"<!-- Made from {source} by docs/make_reference.py: change it there, then `make docs`. -->\n\n{text}\n"


JOBS = """# The job file

A job file is YAML and holds one experiment. This is `jobs/smoke.yaml`:

```yaml
{smoke}
```

`class: module:Class` names an optimizee or an optimizer; the other entries beside it are the class's fields. Modules
are found from the job file's folder and from the current one. `--set key=value` changes an entry from the command line,
with a dotted key and a value in YAML: `--set optimizer.population=64`. A field that is a dataclass itself takes a
mapping: `--set optimizee.body.motor=4` sets one of its entries. A key that is unknown or has a wrong value is refused
before anything runs, with file, line and key. The job with all its defaults, the versions of the libraries and
the git commit are stored with the run."""

MORE_JOBS = """## Schedules

A number of the optimizee may be a schedule, `noise: {from: 0.3, to: 0.0, over: 500, how: cosine}`, or a curriculum,
`noise: {curriculum: {0: 0.3, 100: 0.1}}`; [Starting points and schedules](../guide/starts.md#schedules) has the keys.

## Seeds

Everything random in a run follows from `seed`. With `seeds: individual` no two evaluations share a seed. With
`seeds: generation` all individuals of a generation have the same one (common random numbers), with `seeds: run` all
evaluations have. The seed of an evaluation stands in its row of the table.

## Chunks

A worker takes `chunk` individuals at once. The number belongs to the job, not to the cluster, so results don't depend
on how many workers there are."""

COMMANDS = """# Commands

`l2l COMMAND --help` says what stands here."""

MORE_COMMANDS = """## The store

The store is `sqlite:///l2l.db` unless `--store` or the environment variable `L2L_STORE` says otherwise, e.g.
`postgresql+psycopg://me@host/l2l?genomes=/data/genomes`. Its password stands in `~/.pgpass`. The folder `genomes` takes
genomes above 64 KB, which SQLite's stores keep beside their file.

## Pictures and logs

`run`, `resume`, `plot`, `compare` and `replay` draw into the folder `runs` beside the store's file, wherever you
stand; the page keeps its logs there too. Of a store on a server it is `~/l2l/runs`. `--out` names another place.

## Code of others

A run's job names classes, and building it imports their modules. Of a run that you started they are those that you
named. A run that came in by `l2l import` may name any file: `replay`, `resume` and `plot` ask before they import what
isn't this project's own, or refuse where nobody can answer. `--trust` says yes; `l2l import --trust` says it for good.
The page never imports such code. A store is trusted as a whole: open those alone that people write to whom you trust.

## Exit status

| status | meaning |
| --- | --- |
| 0 | done |
| 1 | the run failed (too many individuals did), a replay differs, a check failed |
| 2 | something to mend, said in one line |
| 75 | the store's server couldn't be reached: later it may go well, and `l2l submit` tries again |
| 130 | interrupted |

## Environment variables

| variable | meaning |
| --- | --- |
| `L2L_STORE` | the store, where `--store` is not given |
| `L2L_ADDRESS` | the cluster's job server, where `--address` is not given; then `RAY_API_SERVER_ADDRESS` |
| `L2L_DATA` | the folder of data sets; else `l2l_snn` in the user's cache |
| `L2L_TRACEBACK` | `1` shows an error in full instead of in one line, that of a failed individual too |
| `RAY_AUTH_TOKEN` | the [token](../cluster.md#the-token) of a cluster |
| `RAY_AUTH_TOKEN_PATH` | the file that holds it |"""

TABLES = """# Tables

```python
from l2l_snn.tables import generations, individuals, runs

best = individuals("sqlite:///l2l.db").groupby("run")["fitness"].max()
curve = generations("sqlite:///l2l.db", "target_rate-1")[["generation", "best_so_far"]]
```

Each function takes a store URL and returns a tidy pandas DataFrame. `generations` and `individuals` also take names of
runs; without one they return all. `l2l table RUN --out x.parquet` writes the individuals to a file."""

OPTIMIZERS = """# Optimizers

A job names one as `class: optimizers.ga:GeneticAlgorithm`. Each file states its papers, and its fields with units and
defaults. At most three jobs of each stand here. [Results](../results/optimizers.md) has how they do on Mountain Car and
on the BBOB functions."""


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for page, page_text in pages().items():
        (FOLDER / f"{page}.md").write_text(page_text)
