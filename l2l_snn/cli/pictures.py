"""The pictures of a run."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from l2l_snn.cli.common import drawing_into, list_files

if TYPE_CHECKING:
    from l2l_snn.storage.store import Store


def draw_run(store: "Store", name: str, folder: Path, trust: bool = False) -> list[Path]:
    """Draw a run's fitness and its best individual into a folder, list the files and return them.

    Raises:
        ValueError: the run has no committed generation.
    """
    from l2l_snn.loop.job import stored_job
    from l2l_snn.loop.replay import repeat
    from l2l_snn.results import figures, tables
    from l2l_snn.storage.genomes import GenomeMissing

    job, optimizee, _ = stored_job(store, name, trust=trust)
    stored = store.load(name)
    if not stored.generation:
        raise ValueError(f"run {name!r}: expected a committed generation, got none; go on with: l2l resume {name}")
    individuals, generations = tables.individuals(store, name), tables.generations(store, name)
    typer.echo("drawing the fitness of all individuals", err=True)
    path, title = folder / "fitness.png", f"Fitness over the run {name}"
    goal, label = job.stop.fitness, optimizee.fitness_label
    with drawing_into(folder):
        files: list[Path] = [figures.fitness(individuals, generations, path, title, goal=goal, label=label)]
        if stored.best is not None:
            try:
                begin = partial(typer.echo, "evaluating the best individual again, to draw it", err=True)
                row, evaluation = repeat(store, name, job, optimizee, begin=begin)
                if not evaluation.failed[0]:
                    files += optimizee.draw(stored.space.decode(row.z), evaluation, folder)
            except GenomeMissing as error:
                typer.echo(f"no picture of the best individual: {error}")
    list_files(files)
    return files
