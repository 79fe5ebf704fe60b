"""Two replays beside each other: how the second is named, and where their parameters differ."""

import re
from typing import TYPE_CHECKING, NamedTuple

from l2l_snn.cli.common import print_table, short

if TYPE_CHECKING:
    from l2l_snn.loop.replay import Replay


class Place(NamedTuple):
    """Where an individual is; None: the best."""

    run: str
    generation: int | None
    individual: int | None


def read_place(text: str, run: str) -> Place:
    """Return the individual that [RUN:]G:I names; without a run, one of `run`.

    Raises:
        ValueError: the text has another form.
    """
    from l2l_snn.validate import message

    found = re.fullmatch(r"(?:([^:]+):)?(\d{1,9}):(\d{1,9})", text)
    if found is None:
        raise ValueError(message("--beside", "generation and individual, [RUN:]G:I", repr(text), "e.g. 12:3"))
    return Place(found[1] or run, int(found[2]), int(found[3]))


def print_differences(first: "Replay", second: "Replay") -> None:
    """Print the parameters in which two individuals differ, beside each other."""
    import numpy as np
    import typer

    one, other = (done.run.space.decode(done.row.z) for done in (first, second))
    names = [*one, *(name for name in other if name not in one)]
    texts = {name: tuple(short(side[name]) if name in side else "-" for side in (one, other)) for name in names}
    differing = [
        name for name in names if name not in one or name not in other or not np.array_equal(one[name], other[name])
    ]
    typer.echo(f"\n{len(names) - len(differing)} of {len(names)} parameters are the same")
    labels = [f"{done.run.name} {done.row.generation}:{done.row.index}" for done in (first, second)]
    if differing:
        print_table(("parameter", *labels), [(name, *texts[name]) for name in differing])
