"""Runs without a job file, of classes that may be defined in a notebook's cell.

import l2l_snn as l2l

run = l2l.run(Bowl(), GeneticAlgorithm(population=16), generations=50, inline=True)
run.best.params, run.best.fitness
run.individuals()                                    # a pandas DataFrame, as l2l_snn.tables gives it
run.plot()                                           # a matplotlib Figure
run.resume(generations=100)
run.branch(optimizee=Bowl(noise=0.0))                # a new run that goes on from here
"""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from l2l_snn.api.notebook import in_notebook, shown_in_notebook, teach_figures
from l2l_snn.loop.evaluators import make_evaluator
from l2l_snn.loop.first_state import pinned
from l2l_snn.loop.job import STOPPING, Experiment, Job, assemble, check_before_run, manifest, stored_job
from l2l_snn.loop.job_file import JobError
from l2l_snn.loop.progress import Progress, describe_start, show_progress
from l2l_snn.loop.recommended import Recommended, judge_recommended
from l2l_snn.loop.replay import Replay, replay_individual
from l2l_snn.loop.restarts import Restarting
from l2l_snn.loop.run import StopRequested
from l2l_snn.loop.run import run as run_loop
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.optimizer import Optimizer
from l2l_snn.results import tables
from l2l_snn.storage import DEFAULT_STORE
from l2l_snn.storage.annotations import annotate
from l2l_snn.storage.database import StoreError
from l2l_snn.storage.records import StoredRun
from l2l_snn.storage.store import Store
from l2l_snn.trackers.track import LiveTrackers
from l2l_snn.trackers.tracker import Tracker
from l2l_snn.validate import message

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

Callback = Callable[["Run", Progress], object]


@dataclass(frozen=True)
class Solution:
    """One individual of a run."""

    params: dict[str, Any]  # decoded, in the units of the space
    fitness: Any  # a number, (M,) with several objectives
    metrics: dict[str, float]
    generation: int
    individual: int
    seed: int  # of its evaluation


@dataclass(frozen=True)
class Manner:
    """Who evaluates, and who is told."""

    inline: bool = False
    workers: int | None = None
    address: str | None = None
    show: bool = True
    callback: Callback | None = None
    trackers: tuple[Tracker, ...] = ()
    trust: bool = False


def run(
    optimizee: BatchOptimizee,
    optimizer: Optimizer,
    *,
    generations: int = 100,
    store: str | Store = DEFAULT_STORE,
    name: str | None = None,
    inline: bool = False,
    workers: int | None = None,
    address: str | None = None,
    show: bool = True,
    callback: Callback | None = None,
    trackers: Sequence[Tracker] = (),
    wait: bool = True,
    **settings: Any,
) -> "Run":
    """Run an experiment and return it.

    Args:
        optimizee: an instance of a frozen dataclass, which may be defined in a notebook's cell.
        optimizer: an instance too.
        generations: at most.
        store: URL of the results store, or an open one.
        name: of the run; the optimizee's class and a number by default.
        inline: evaluate in this process; else Ray starts workers on this machine.
        workers: how many; all CPUs by default.
        address: "auto" or "host:port" of a Ray cluster.
        show: the progress.
        callback: called with the run and its `Progress` after each generation; it may call `run.stop()`.
        trackers: are told of the run while it goes on, e.g. TensorBoardTracker(); see l2l_snn.trackers.
        wait: return when the run has ended; else it goes on in a thread, see `Run.wait` and `Run.stop`.
        settings: the other keys of a job file, e.g. seed=2, stop={"fitness": 0.5}, chunk=8, start={"run": "bowl-1"};
            and `schedules`, e.g. {"noise": {"from": 0.1, "to": 0.0, "over": 50}}.

    Returns:
        The run. Its state is finished, stopped (Ctrl-C, `stop`), or failed (too many individuals failed).

    Raises:
        JobError: a setting is unknown or wrong, or optimizee and optimizer don't fit together.
        StoreError: the store can't be written.
        EvaluatorError: there are no workers.
    """
    _check_instance("optimizee", optimizee, BatchOptimizee)
    _check_instance("optimizer", optimizer, Optimizer)
    experiment = assemble(optimizee, optimizer, {"generations": generations, **settings})
    manner = Manner(inline, workers, address, show, callback, tuple(trackers))
    stem = type(optimizee).__name__.lower()
    made = _create_run(store, name, stem, experiment, manner)
    made.drive(wait=wait)
    return made


def load(name: str, store: str | Store = DEFAULT_STORE, *, trust: bool = False) -> "Run":
    """Return a stored run, whoever started it.

    Args:
        name: of the run.
        store: URL of the results store, or an open one.
        trust: import the code that an imported run names, too.

    Raises:
        RunUnknown: the store has none of that name.
    """
    found = Run(store, name, None, Manner(trust=trust))
    found.stored  # noqa: B018, raises
    return found


class Run:
    """A run of a store: what it has found so far, and how to go on. `run` and `load` make it."""

    def __init__(self, store: str | Store, name: str, experiment: Experiment | None, manner: Manner):
        self.name = name
        self._place = store
        self._experiment = experiment
        self._manner = manner
        self._stopping = threading.Event()
        self._driving = False  # whether it is driven by this object
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        stored = self.stored
        best = "none" if stored.best is None else f"{stored.best:.6g}"
        return f"<Run {self.name}: {stored.state}, {stored.generation} generations, best fitness {best}>"

    @property
    def stored(self) -> StoredRun:
        """What the store knows of the run as a whole: state, message, generation, evaluations, best, job, times."""
        with _opened(self._place) as store:
            return store.load(self.name)

    @property
    def state(self) -> str:
        """running, finished, stopped or failed."""
        return self.stored.state

    @property
    def note(self) -> str:
        """What was written beside it; `run.note = "..."` puts another note in its place, also while it runs."""
        return self.stored.note

    @note.setter
    def note(self, text: str) -> None:
        with _opened(self._place) as store:
            annotate(store, self.name, note=text)

    @property
    def tags(self) -> tuple[str, ...]:
        """Words to find it by; `run.tags = ["baseline"]` puts others in their place, `run.tags += ("x",)` adds one."""
        return self.stored.tags

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        with _opened(self._place) as store:
            annotate(store, self.name, tags=tags)

    @property
    def job(self) -> Job:
        """Its job, with all defaults."""
        return Job.model_validate(self.stored.manifest["job"])

    @property
    def parent(self) -> str | None:
        """The run that it started from, if there is one."""
        start = self.job.start
        return None if start is None else start.run

    @property
    def best(self) -> Solution:
        """The individual of the largest fitness, of several objectives of the first.

        Raises:
            StoreError: none has a fitness yet.
            GenomeMissing: its genome wasn't kept.
        """
        with _opened(self._place) as store:
            stored, row = store.load(self.name), store.individual(self.name)
            params = stored.space.decode(row.z)
        return Solution(params, row.fitness, row.metrics, row.generation, row.index, row.seed)

    def individuals(self, *, params: bool = False) -> "DataFrame":
        """Return the table of all individuals; see `l2l_snn.tables.individuals`."""
        return tables.individuals(self._place, self.name, params=params)

    def generations(self) -> "DataFrame":
        """Return the table of generations; see `l2l_snn.tables.generations`."""
        return tables.generations(self._place, self.name)

    def plot(self) -> "Figure":
        """Return the picture of every individual's fitness.

        Raises:
            ValueError: there is no generation yet.
        """
        from l2l_snn.results.figures import draw_fitness

        teach_figures()
        goal = self.job.stop.fitness
        return draw_fitness(self.individuals(), self.generations(), f"Fitness over the run {self.name}", goal=goal)

    def replay(self, generation: int | None = None, individual: int | None = None) -> Replay:
        """Return a stored evaluation, repeated in this process; the best by default.

        `replay.evaluation` has metrics and artifacts, `replay.same` whether the fitness is that which is stored, and
        `replay.draw(Path("runs"))` writes the optimizee's pictures.

        Raises:
            JobError: the optimizee's class can't be found here.
            StoreError: there is no such individual.
        """
        with _opened(self._place) as store:
            job, optimizee, _ = self._experiment or stored_job(store, self.name, trust=self._manner.trust)
            return replay_individual(store, self.name, job, optimizee, generation, individual)

    def recommended(self, evaluations: int = 20) -> Recommended:
        """Return what the optimizer recommends by now, evaluated in this process with seeds that the run never had.

        `.params` are its parameters, `.evaluation.fitness` (N,) how it did, `.report()` says it in words. The best
        individual of noisy evaluations, `best`, was partly lucky.

        Raises:
            JobError: the optimizee's class can't be found here.
            StoreError: nothing is committed yet.
        """
        with _opened(self._place) as store:
            return judge_recommended(
                store, self.name, evaluations, experiment=self._experiment, trust=self._manner.trust
            )

    def resume(
        self,
        *,
        inline: bool | None = None,
        workers: int | None = None,
        address: str | None = None,
        show: bool = True,
        callback: Callback | None = None,
        wait: bool = True,
        **settings: Any,
    ) -> "Run":
        """Go on after the last committed generation, perhaps with other stopping rules, and return the run.

        Args:
            inline: evaluate in this process; None: as before.
            workers: as of `run`, as are address, show, callback and wait.
            address: see `run`.
            show: see `run`.
            callback: see `run`; None: as before.
            wait: see `run`.
            settings: what may change in a stored run: generations, stop, max_failed, max_tries, timeout, resources.

        Raises:
            JobError: another setting, or the classes can't be found here.
        """
        for key in settings:
            if key not in STOPPING:
                expected, todo = f"one of {', '.join(STOPPING)}", "a new run goes on with other fields: run.branch(...)"
                raise JobError(message("resume", expected, repr(key), todo))
        before = self._manner
        self._manner = Manner(
            before.inline if inline is None else inline,
            workers or before.workers,
            address or before.address,
            show,
            callback or before.callback,
            before.trackers,
            before.trust,
        )
        with _opened(self._place) as store:
            job, optimizee, optimizer = self._experiment or stored_job(store, self.name, trust=self._manner.trust)
        changed = Job.model_validate({**job.model_dump(by_alias=True), **settings})
        self._experiment = (changed, optimizee, optimizer)
        self.drive(wait=wait)
        return self

    def branch(
        self,
        name: str | None = None,
        *,
        optimizee: BatchOptimizee | None = None,
        optimizer: Optimizer | None = None,
        wait: bool = True,
        **settings: Any,
    ) -> "Run":
        """Go on as a new run, whose parent is this one, with other fields; return the new run when it has ended.

        Args:
            name: of the new run; this one's job and a number by default.
            optimizee: in place of this run's, with the same search space.
            optimizer: in place of this run's, of the same class.
            wait: see `run`.
            settings: entries of the job to change: generations (counted from 0 again), seed, stop, schedules...

        Raises:
            JobError: as of `run`, or the search space is another one.
        """
        with _opened(self._place) as store:
            job, mine, its = self._experiment or stored_job(store, self.name, trust=self._manner.trust)
        alone = its.optimizer if isinstance(its, Restarting) else its
        entries = job.model_dump(by_alias=True, exclude={"optimizee", "optimizer", "start"})
        kept = {} if optimizee is not None else {"schedules": dict(job.schedules)}
        kept = {key: {field: s.model_dump(by_alias=True) for field, s in value.items()} for key, value in kept.items()}
        start = {"run": self.name, "take": "state"}
        given = {**entries, **kept, "start": start, **settings}
        experiment = assemble(optimizee or mine, optimizer or alone, given)
        made = _create_run(self._place, name, self.stored.job, experiment, self._manner)
        made.drive(wait=wait)
        return made

    def stop(self) -> None:
        """Ask for a stop after the generation under way, at the latest; nothing is lost, `resume` goes on.

        It may be called in a callback, in another thread, or of a run that another process drives.

        Raises:
            StoreError: nobody drives the run.
        """
        self._stopping.set()
        with _opened(self._place) as store, suppress(*[StoreError] * self._driving):  # it may not have begun yet
            store.request_stop(self.name)

    def wait(self) -> "Run":
        """Wait for a run that was started with wait=False, and return it.

        Raises:
            Exception: what ended it.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self

    def drive(self, *, wait: bool = True) -> None:
        """Run the loop until it ends, here or in a thread; what `run`, `resume` and `branch` do."""
        self._stopping.clear()
        self._driving = True
        if wait:
            self._run_loop()
            return

        def drive() -> None:
            try:
                self._run_loop()
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=drive, name=f"l2l-{self.name}", daemon=True)
        self._thread.start()

    def _run_loop(self) -> None:
        try:
            self._run_generations()
        finally:
            self._driving = False

    def _run_generations(self) -> None:
        assert self._experiment is not None
        job, optimizee, optimizer = self._experiment
        manner = self._manner
        evaluator = make_evaluator(job, optimizee, manner.workers, manner.inline, manner.address)
        live = LiveTrackers(list(manner.trackers), self.name, job.model_dump(mode="json"))
        with _opened(self._place) as store, evaluator, _shown(self.name, manner.show, evaluator.ready) as tell:

            def tell_all(progress: Progress) -> None:
                tell(progress)
                live.tell(progress)
                if manner.callback is not None:
                    manner.callback(self, progress)
                if self._stopping.is_set():
                    raise StopRequested

            stored = run_loop(store, self.name, job, optimizer, evaluator, tell=tell_all)
        if manner.trackers:
            with TemporaryDirectory() as folder:
                path = Path(folder) / "fitness.png"
                if stored.generation:
                    self.plot().savefig(path)
                live.end(stored.state, {"fitness": path} if stored.generation else {})


def _create_run(store: str | Store, name: str | None, stem: str, experiment: Experiment, manner: Manner) -> Run:
    """Return a new run, added to the store."""
    job, optimizee, optimizer = experiment
    check_before_run(optimizee, optimizer)
    with _opened(store, create=True) as opened:
        job = pinned(opened, job)
        entries = manifest(job, _find_file(optimizee))
        if name is None:
            name = opened.create_numbered(stem, entries, optimizee.space)
        else:
            opened.create(name, stem, entries, optimizee.space)
    return Run(store, name, (job, optimizee, optimizer), manner)


def _check_instance(argument: str, value: Any, base: type) -> None:
    """Refuse what is no instance of an optimizee's or optimizer's base."""
    if isinstance(value, base):
        return
    if isinstance(value, type) and issubclass(value, base):
        todo = f"put brackets behind it: {value.__name__}()"
        raise TypeError(message(argument, "an instance", f"the class {value.__name__}", todo))
    kinds = "an Optimizee, JaxOptimizee or BatchOptimizee" if base is BatchOptimizee else "an Optimizer"
    raise TypeError(message(argument, kinds, f"{value!r} ({type(value).__name__})"))


@contextmanager
def _opened(store: str | Store, create: bool = False) -> Iterator[Store]:
    """Give an open store; one that was opened here is closed."""
    if isinstance(store, Store):
        yield store
    else:
        with Store(store, create=create) as opened:
            yield opened


def _find_file(optimizee: BatchOptimizee) -> Path:
    """Return the file that an optimizee's class is in, or one in the current folder for a notebook's cell."""
    module = sys.modules.get(type(optimizee).__module__)
    return Path(getattr(module, "__file__", None) or "notebook")


def _shown(name: str, show: bool, ready: bool) -> Any:
    """Return the context that gives the function which shows a generation: in a notebook, on a terminal or as lines."""
    if not show:
        return nullcontext(lambda progress: None)
    if in_notebook():
        return shown_in_notebook(name)
    return show_progress(name, sys.stdout.isatty(), describe_start(ready))
