"""The pictures of a run, drawn into runs/RUN."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from l2l_snn.cli.common import folder_of, list_files

if TYPE_CHECKING:
    from l2l_snn.storage.store import Store


def draw_run(store: "Store", name: str) -> None:
    """Draw a run's fitness and its best individual, and list the files.

    Raises:
        ValueError: the run has no committed generation.
    """
    from l2l_snn.loop.job import stored_job
    from l2l_snn.loop.replay import repeat
    from l2l_snn.results import figures, tables
    from l2l_snn.storage.genomes import GenomeMissing

    folder = folder_of(name)
    folder.mkdir(parents=True, exist_ok=True)
    job, optimizee, _ = stored_job(store, name)
    stored = store.load(name)
    if not stored.generation:
        raise ValueError(f"run {name!r}: expected a committed generation, got none; go on with: l2l resume {name}")
    individuals, generations = tables.individuals(store, name), tables.generations(store, name)
    path, title = folder / "fitness.png", f"Fitness over the run {name}"
    goal, label = job.stop.fitness, optimizee.fitness_label
    files: list[Path] = [figures.fitness(individuals, generations, path, title, goal=goal, label=label)]
    if stored.best is not None:
        try:
            row, evaluation = repeat(store, name, job, optimizee)
            if not evaluation.failed[0]:
                files += optimizee.draw(stored.space.decode(row.z), evaluation, folder)
        except GenomeMissing as error:
            typer.echo(f"no picture of the best individual: {error}")
    list_files(files)
