"""l2l new | list | describe: classes to begin from, those that there are, and what one of them takes."""

import ast
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from l2l_snn.cli.common import SetOption, complaints, list_files, print_table


class Kind(StrEnum):
    optimizers = "optimizers"
    optimizees = "optimizees"


class NewKind(StrEnum):
    optimizee = "optimizee"


BASES = {
    "optimizers": {"Optimizer"},
    "optimizees": {"Optimizee", "JaxOptimizee", "BatchOptimizee"},
}


def new(
    kind: Annotated[NewKind, typer.Argument(metavar="optimizee", help="What to write.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the module, e.g. target_rate.")],
) -> None:
    """Write an optimizee's class, a job and a test into this folder, ready to run and to be changed."""
    with complaints():
        from l2l_snn.validate import message

        if not name.isidentifier() or name != name.lower():
            raise ValueError(message("NAME", "a module's name: small letters, digits and _", repr(name)))
        cls = "".join(part.capitalize() for part in name.split("_"))
        texts = {f"{name}.py": MODULE, f"{name}.yaml": JOB, f"test_{name}.py": TEST}
        for file in texts:
            if Path(file).exists():
                raise ValueError(message("NAME", "one whose files aren't there yet", f"{name}, and there is {file}"))
        for file, text in texts.items():
            Path(file).write_text(text.replace("NAME", name).replace("CLASS", cls))
        list_files([Path(file) for file in texts])
        typer.echo(f"next: l2l check {name}:{cls}; l2l run {name}.yaml; python -m pytest test_{name}.py")


def list_classes(kind: Annotated[Kind, typer.Argument(metavar="optimizers|optimizees", help="Which.")]) -> None:
    """List the optimizers or optimizees that a job can name: those that come along, and those in this folder."""
    with complaints():
        rows = sorted(_find_classes(kind.value))
        print_table(("class", "what it is"), rows)


def describe(
    address: Annotated[
        str, typer.Argument(metavar="MODULE:CLASS", help="An optimizee, optimizer, or another dataclass.")
    ],
    settings: SetOption = None,
) -> None:
    """Print a class's fields with types, defaults, units and meaning, and an optimizee's search space."""
    with complaints():
        import inspect
        from dataclasses import is_dataclass

        from l2l_snn.loop import components, job_file
        from l2l_snn.optimizee import BatchOptimizee
        from l2l_snn.validate import message

        components.find_modules(Path.cwd())
        cls = components.load_class(address)
        if not is_dataclass(cls):
            raise ValueError(message(address, "a dataclass", "another class"))
        typer.echo(inspect.cleandoc(cls.__doc__ or "") + "\n")
        print_table(("field", "type", "default", "meaning"), list(_describe_fields(cls)))
        if issubclass(cls, BatchOptimizee):
            entries: dict[str, Any] = {"class": address}
            for setting in settings or []:
                job_file.apply_setting(entries, setting)
            try:
                space = components.build(entries, cls.__name__, BatchOptimizee).space
            except job_file.JobError as error:
                typer.echo(f"\nsearch space: {error}; give it by --set")
                return
            typer.echo(f"\nsearch space of {space.size} coordinates:")
            print_table(("", ""), [(f"  {name}", repr(p)) for name, p in space.parameters.items()])


def _find_classes(kind: str) -> Iterator[tuple[str, str]]:
    """Yield module:Class and the first sentence of each class of a kind; nothing is imported, only read."""
    import importlib.util

    found = importlib.util.find_spec(kind)
    roots = [Path(place) for place in (found.submodule_search_locations or ())] if found else []
    trees = {f"{kind}.{_name_module(path, root)}": path for root in roots for path in root.rglob("*.py")}
    trees |= {path.stem: path for path in Path.cwd().glob("*.py")}
    modules: dict[str, str] = {}  # docstrings
    classes: dict[str, list[tuple[str, ast.ClassDef]]] = {}
    exports: dict[str, set[str]] = {}  # what a package's own module imports, by the package
    for module, path in trees.items():
        try:
            body = ast.parse(path.read_text(encoding="utf-8")).body
        except (SyntaxError, ValueError, OSError):
            continue  # somebody's file that isn't Python
        modules[module] = ast.get_docstring(ast.Module(body, [])) or ""
        if path.name == "__init__.py":
            imports = [node for node in body if isinstance(node, ast.ImportFrom)]
            exports[module.removesuffix(".")] = {alias.name for node in imports for alias in node.names}
        classes[module] = [(module, node) for node in body if isinstance(node, ast.ClassDef)]
    known, every = set(BASES[kind]), [pair for pairs in classes.values() for pair in pairs]
    for _ in range(3):  # a base may itself be a class of the kind
        known |= {node.name for _, node in every if _name_bases(node) & known}
    for module, node in every:
        if _name_bases(node) & known and node.decorator_list and not _is_abstract(node) and node.name[0] != "_":
            alone = sum(bool(_name_bases(other) & known) for _, other in classes[module]) == 1
            text = (modules[module] if alone else "") or ast.get_docstring(node) or ""
            package = module.rpartition(".")[0]
            short = package if node.name in exports.get(package, ()) else module.removesuffix(".")
            yield f"{short}:{node.name}", " ".join(text.split("\n\n")[0].split()).partition(". ")[0]


def _name_module(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix("__init__")


def _name_bases(node: ast.ClassDef) -> set[str]:
    """Return the names of a class's bases, without modules and type arguments."""
    plain = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    return {base.id if isinstance(base, ast.Name) else getattr(base, "attr", "") for base in plain}


def _is_abstract(node: ast.ClassDef) -> bool:
    decorators = [d for method in node.body if isinstance(method, ast.FunctionDef) for d in method.decorator_list]
    return any(isinstance(d, ast.Name) and d.id == "abstractmethod" for d in decorators)


def _describe_fields(cls: type, prefix: str = "", usual: Any = None) -> Iterator[tuple[str, str, str, str]]:
    """Yield the row of each field: name, type, default, meaning; of a nested dataclass those of its fields too.

    `usual` is the instance that a nested dataclass has by default, None where there is none.
    """
    from dataclasses import MISSING, fields, is_dataclass
    from typing import get_type_hints

    comments, hints = _read_comments(cls), get_type_hints(cls)
    for field in fields(cls):  # pyright: ignore[reportArgumentType]
        if field.init:
            made = field.default_factory() if field.default_factory is not MISSING else field.default
            made = made if usual is None else getattr(usual, field.name)
            kind = hints[field.name]
            nested = is_dataclass(kind)
            name = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
            default = "required" if made is MISSING else "" if nested else str(made)
            yield f"{prefix}{field.name}", name, default, comments.get(field.name, "")
            if nested and isinstance(kind, type):
                yield from _describe_fields(kind, f"{prefix}{field.name}.", made if isinstance(made, kind) else None)


def _read_comments(cls: type) -> dict[str, str]:
    """Return the comment of each field: units and meaning, behind it or in the lines above."""
    import inspect
    import textwrap

    found: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        try:
            lines = textwrap.dedent(inspect.getsource(one)).splitlines()
        except (OSError, TypeError):  # of the interpreter, or typed in
            continue
        node = ast.parse("\n".join(lines)).body[0]
        for field in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                behind = lines[(field.end_lineno or field.lineno) - 1].partition("  # ")[2]
                above: list[str] = []
                for line in reversed(lines[: field.lineno - 1]):
                    if not line.strip().startswith("# "):
                        break
                    above.insert(0, line.strip()[2:])
                found[field.target.id] = " ".join([*above, behind] if behind else above)
    return found


MODULE = '''"""CLASS: what is optimised. Replace the fields, the space and `evaluate` by your own."""

from dataclasses import dataclass

import numpy as np

from l2l_snn import Optimizee, Real, Space
from l2l_snn.validate import Positive


@dataclass(frozen=True)
class CLASS(Optimizee):
    """A noisy leaky integrate-and-fire neuron that shall fire at a given rate."""

    rate: Positive = 20.0  # Hz
    space = Space(tau_m=Real(5, 50, log=True), current=Real(0, 1000))  # ms, pA

    def evaluate(self, params, seed):
        v, spikes = 0.0, 0  # mV above rest, spikes in 1 s
        for noise in np.random.default_rng(seed).normal(0, 200, 1_000):  # pA, every 1 ms
            v += (params["current"] + noise) / 250 - v / params["tau_m"]
            if v >= 15:
                v, spikes = 0.0, spikes + 1
        return -abs(spikes - self.rate), {"rate": spikes}  # larger is better; numbers become columns metric.*
'''
JOB = """# l2l run NAME.yaml
optimizee:
  class: NAME:CLASS
  rate: 20
optimizer:
  class: optimizers.ga:GeneticAlgorithm
  population: 16
  elites: 1
generations: 20
stop: {fitness: 0}
seed: 1
chunk: 4
"""
TEST = '''"""python -m pytest test_NAME.py"""

import l2l_snn as l2l
from l2l_snn.checks import check_optimizee, require
from NAME import CLASS
from optimizers.ga import GeneticAlgorithm


def test_it_keeps_the_contract_of_optimizees():
    require(check_optimizee(CLASS()))


def test_it_gets_better(tmp_path):
    store = f"sqlite:///{tmp_path}/l2l.db"
    run = l2l.run(CLASS(), GeneticAlgorithm(population=16), generations=5, store=store, inline=True, show=False)
    best = run.generations()["best_so_far"]
    assert run.state == "finished"
    assert best.iloc[-1] >= best.iloc[0]
'''
