"""What other libraries have found, read into a store, for tables and comparisons: Optuna's studies, DEAP's logbooks.

    import_study(store, optuna.load_study(study_name="rates", storage="sqlite:///study.db"))
    import_deap(store, logbook, population, name="deap-ga")

Such a run can be looked at and compared, not resumed or replayed. Nothing is unpickled.

Legend: P individuals, D search coordinates.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.space import Choice, Free, Integer, Parameter, Real, Space
from l2l_snn.storage import rows
from l2l_snn.storage.driver import drive
from l2l_snn.storage.encoding import generation_values, individual_values
from l2l_snn.storage.records import Generation
from l2l_snn.storage.store import Store
from l2l_snn.validate import message


class NoState(NamedTuple):
    """The state of an optimizer that isn't ours."""

    nothing: np.ndarray  # ()


NOTHING = NoState(np.array(0))


def import_file(store: Store, source: str, name: str | None = None, study: str | None = None) -> str:
    """Read a file of DEAP or a study of Optuna; return the run's name.

    Args:
        store: where it goes.
        source: a .json file with `logbook` and `population` (DEAP), or a database or URL of Optuna.
        name: of the run; the file's or the study's by default.
        study: which, where the database has several.

    Raises:
        ValueError: there is no such file or study, or it holds something else.
        ImportError: Optuna isn't installed.
    """
    path = Path(source)
    if "://" not in source and not path.is_file():
        raise ValueError(message("FOLDER", "a folder, a .json file, or a database", f"{source!r}, which isn't there"))
    if path.suffix == ".json":
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not {"logbook", "population"} <= set(found):
            raise ValueError(message(source, "a mapping with logbook and population", type(found).__name__))
        members = [(one["individual"], one["fitness"]) for one in found["population"]]
        return _import_records(store, found["logbook"], members, name or store.next_name(path.stem))
    try:
        import optuna
    except ImportError as error:
        todo = "pip install 'l2l-snn[optuna]'"
        raise ImportError(message(source, "the package optuna", str(error), todo)) from error
    url = source if "://" in source else f"sqlite:///{path.absolute()}"
    names = optuna.get_all_study_names(url)
    if (study is None and len(names) != 1) or (study is not None and study not in names):
        todo = f"name one by --study: {', '.join(names) or 'there is none'}"
        raise ValueError(message("--study", "a study of the database", repr(study), todo))
    found = optuna.load_study(study_name=study or names[0], storage=url)
    return import_study(store, found, name, sampler="Sampler")  # a database doesn't say which it was


def import_study(store: Store, study: Any, name: str | None = None, sampler: str | None = None) -> str:
    """Read an Optuna study: a generation a trial, in their order; return the run's name.

    Parameters that all trials have make the space, numbers among the other parameters and user attributes are metrics.
    A trial that failed or was pruned is a failure. What is minimised is negated.

    Args:
        store: where it goes.
        study: the study.
        name: of the run; the study's and a number by default.
        sampler: class of the study's sampler, by default that of `study.sampler`.

    Raises:
        ValueError: no trial has ended, or no parameter is in all of them.
    """
    trials = [trial for trial in study.trials if trial.state.is_finished()]
    if not trials:
        raise ValueError(message("study", "a trial that has ended", "none"))
    space = Space(**_find_parameters(trials))
    signs = np.array([1.0 if direction.name == "MAXIMIZE" else -1.0 for direction in study.directions])
    chosen = name or store.next_name(study.study_name)
    optimizer = f"optuna:{sampler or type(study.sampler).__name__}"
    store.create(chosen, study.study_name, _make_manifest("optuna:Study", optimizer), space)
    with drive(store, chosen) as driver:
        for number, trial in enumerate(trials):
            driver.commit(_read_trial(number, trial, space, signs), NOTHING)
        driver.finish("finished", f"{len(trials)} trials of Optuna", seconds=_sum_seconds(trials))
    return chosen


def import_deap(
    store: Store, logbook: Iterable[Mapping[str, Any]], population: Iterable[Any], name: str = "deap-1"
) -> str:
    """Read what DEAP has logged, and its last population or hall of fame; return the run's name.

    Args:
        store: where it goes.
        logbook: records with `nevals` and of the fitness `max`, perhaps `avg` and `std`; a `tools.Logbook` is one.
        population: DEAP's individuals: sequences of numbers of one length, with `fitness.values` and its weights.
        name: of the run.

    Raises:
        ValueError: a record has no max, or an individual no fitness.
    """
    members = []
    for individual in population:
        fitness = individual.fitness
        if not fitness.valid:
            raise ValueError(message("population", "individuals with a fitness", "one without"))
        members.append((list(individual), [float(value) for value in fitness.wvalues]))
    return _import_records(store, list(logbook), members, name)


def _import_records(
    store: Store, logbook: Sequence[Mapping[str, Any]], members: Sequence[tuple[Sequence[float], Any]], name: str
) -> str:
    """Store a generation for each record, whose only row is its best, then the members with their genomes."""
    if not members:
        raise ValueError(message("population", "an individual or more", "none"))
    z = np.array([genome for genome, _ in members], np.float64)
    fitness = np.array([np.reshape(value, -1) for _, value in members], np.float64)
    space = Space(x=Free(z.shape[1:]))
    store.create(name, name, _make_manifest("deap:Individual", "deap:Algorithm"), space)
    with drive(store, name) as driver:
        for number, record in enumerate(logbook):
            if "max" not in record:
                todo = "register np.max, np.mean and np.std of the fitness in DEAP's Statistics"
                raise ValueError(message("logbook", "records with max, avg and std", ", ".join(record), todo))
            best = float(np.reshape(record["max"], -1)[0])
            _append_record(store, driver.run.id, name, number, best, record, space)
        scores = fitness[:, 0] if fitness.shape[1] == 1 else fitness
        last = _make_generation(len(logbook), z, Evaluation(scores))
        driver.commit(last, NOTHING)
        driver.finish("finished", f"{len(logbook)} records and {len(members)} individuals of DEAP", seconds=0.0)
    return name


def _append_record(
    store: Store, run_id: int, name: str, number: int, best: float, record: Mapping[str, Any], space: Space
) -> None:
    """Store a record as a generation of so many evaluations; the genome of its best isn't known."""
    generation = _make_generation(number, np.zeros((1, space.size)), Evaluation(np.array([best])))
    values = generation_values(generation) | {"evaluations": int(record.get("nevals", 1)), "seconds": None}
    for column, key in (("mean", "avg"), ("std", "std")):
        values[column] = float(np.reshape(record[key], -1)[0]) if key in record else None
    individuals = individual_values(store.load(name), generation, np.array([False]))

    def body(connection: Any, again: bool) -> None:
        row = rows.find(connection, store.url_shown, name, lock=True)
        if row.generation == number:  # else an earlier attempt has committed it
            rows.append(connection, row, values, individuals, [], 0.0)

    store.writing(f"importing generation {number} of run {name!r}", body)


def _make_manifest(optimizee: str, optimizer: str) -> dict[str, Any]:
    job = {"optimizee": {"class": optimizee}, "optimizer": {"class": optimizer}}
    return {"job": job, "file": str(Path("imported").absolute()), "versions": {}, "commit": None}


def _make_generation(number: int, z: np.ndarray, evaluation: Evaluation, seconds: float = 0.0) -> Generation:
    count = len(z)
    return Generation(number, z, np.zeros(count, np.int64), evaluation, np.full(count, seconds), ("",) * count, seconds)


def _find_parameters(trials: Sequence[Any]) -> dict[str, Parameter]:
    """Return the parameters that all trials have, with the widest bounds of any."""
    shared = [name for name in trials[0].distributions if all(name in trial.distributions for trial in trials)]
    found: dict[str, Parameter] = {}
    for name in shared:
        kinds = [trial.distributions[name] for trial in trials]
        if hasattr(kinds[0], "choices"):
            options = tuple(dict.fromkeys(_as_option(value) for kind in kinds for value in kind.choices))
            found.update({name: Choice(*options)} if len(options) > 1 else {})
            continue
        low, high = min(kind.low for kind in kinds), max(kind.high for kind in kinds)
        if low < high:
            whole = isinstance(low, int) and isinstance(high, int)
            found[name] = Integer(low, high) if whole else Real(low, high, log=all(kind.log for kind in kinds))
    if not found:
        raise ValueError(message("study", "a parameter that all of its trials have", "none"))
    return found


def _as_option(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else str(value)


def _read_trial(number: int, trial: Any, space: Space, signs: np.ndarray) -> Generation:
    """Return a trial as a generation of one individual."""
    params = {name: trial.params[name] for name in space.parameters}
    for name, parameter in space.parameters.items():
        if isinstance(parameter, Choice):
            params[name] = _as_option(params[name])
    z = space.clipped(space.encode(params))[None]
    complete = trial.state.name == "COMPLETE"
    values = signs * np.array(trial.values, np.float64) if complete else np.full(len(signs), np.nan)
    others = {key: value for key, value in trial.params.items() if key not in params} | dict(trial.user_attrs)
    numbers = {key: value for key, value in others.items() if isinstance(value, int | float)}
    metrics = {key: np.array([float(value)]) for key, value in numbers.items()}
    fitness = values if len(signs) == 1 else values[None]
    evaluation = Evaluation(fitness, metrics, errors=("" if complete else trial.state.name.lower(),))
    return _make_generation(number, z, evaluation, _sum_seconds([trial]))


def _sum_seconds(trials: Sequence[Any]) -> float:
    return sum(trial.duration.total_seconds() for trial in trials if trial.duration is not None)
