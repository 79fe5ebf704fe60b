"""What the JSON API answers, as pydantic models: /openapi.json is made from them."""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from l2l_snn.storage.records import LONGEST_NOTE, MOST_TAGS, RunState


def finite(value: float | None) -> float | str | None:
    """Return a number as JSON can hold it: nan as None, infinities as text."""
    if value is None or math.isnan(value):
        return None
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def _replace_infinite(value: float | str | None) -> float | str | None:
    return finite(value) if isinstance(value, float) else value


# null is nan or missing
Number = Annotated[float | Literal["inf", "-inf"] | None, BeforeValidator(_replace_infinite)]


class Error(BaseModel):
    error: str = Field(description="one line")


class Run(BaseModel):
    run: str
    job: str
    state: RunState
    message: str = Field(description="why it stopped or failed")
    stop_requested: bool = Field(description="whether it was asked to stop and hasn't yet")
    generation: int = Field(description="how many are committed")
    generations: int | None = Field(description="how many there will be at most")
    evaluations: int
    failed: int = Field(description="of the evaluations")
    best: Number
    objectives: list[Number] = Field(description="all of its best individual; empty where there is one")
    started: float = Field(description="s since 1970, UTC")
    finished: float | None = Field(description="s since 1970, UTC")
    seconds: float = Field(description="s, of all its drivers together")
    evaluations_per_s: Number = Field(description="of the last generations while it runs, then of the whole run")
    seconds_left: Number = Field(description="s, if all generations run; of running ones only")
    note: str = Field(description="what users wrote beside it")
    tags: list[str]


class Runs(BaseModel):
    runs: list[Run] = Field(description="in the order asked for")
    total: int = Field(description="runs that fit the filter")
    stored: int = Field(description="runs in the store")
    store: str = Field(description="its URL, without a password")


class Worker(BaseModel):
    worker: str = Field(description="host:pid")
    generation: int
    first: int = Field(description="first individual that it evaluates; -1: idle")
    last: int
    since: float = Field(description="s since 1970, UTC")


class RunDetail(Run):
    id: int = Field(description="of this run in the store: another run of its name has another")
    settings: str = Field(description="the resolved job, in YAML")
    file: str = Field(description="the job file")
    versions: dict[str, str | None]
    commit: str | None
    metrics: list[str] = Field(description="names of the metrics of the last generation")
    parameters: list[str] = Field(description="names, kinds and shapes")
    goal: Number = Field(description="fitness that stops the run")


class Generations(BaseModel):
    """Columns; an entry is a generation, or a block of `every` of them where there are many."""

    every: int
    generation: list[int] = Field(description="the first of the block")
    last: list[int] = Field(description="the last of the block")
    evaluations: list[int]
    failed: list[int]
    best: list[Number]
    mean: list[Number]
    best_so_far: list[Number]
    seconds: list[Number] = Field(description="s, wall time")
    first_error: str = Field(description="of the newest generation in which some failed; '' if all went well")


class Cloud(BaseModel):
    """Columns; an entry is one of the individuals that were picked."""

    every: int = Field(description="each so-many-th generation is in it")
    per_generation: int = Field(description="how many individuals of such a generation, at most")
    complete: bool = Field(description="whether every individual with a fitness is in it")
    generation: list[int]
    individual: list[int]
    fitness: list[float]
    objectives: list[list[Number]] = Field(description="a column for each objective; empty where there is one")


class Row(BaseModel):
    generation: int
    individual: int
    seed: int
    fitness: Number
    objectives: list[Number] = Field(description="empty where there is one")
    seconds: Number
    worker: str
    error: str
    metrics: dict[str, Number]


class Rows(BaseModel):
    rows: list[Row]
    total: int = Field(description="rows that can be paged through")
    searched: int = Field(description="individuals that were looked at")
    stored: int = Field(description="individuals in the run")
    note: str = Field(description="which individuals were looked at, '' if all")
    columns: list[str] = Field(description="what can be sorted and filtered by")


class Heat(BaseModel):
    rows: int
    columns: int
    values: list[Number] = Field(description="row by row; means over blocks where the array is larger")


class ParameterValue(BaseModel):
    name: str
    kind: str
    shape: list[int]
    first: list[str] = Field(description="the first entries, as text")
    size: int
    low: Number
    mean: Number
    high: Number
    heat: Heat | None = Field(description="of arrays of numbers with more than 8 entries")


class IndividualDetail(Row):
    run: str
    population: int = Field(description="of its generation")
    traceback: str = Field(description="of its error, '' if there is none")
    parameters: list[ParameterValue]
    note: str = Field(description="why there are no parameters, '' if there are")


class ParameterDifference(BaseModel):
    name: str
    left: str = Field(description="the first entries; '' if it has no such parameter")
    right: str
    largest: Number = Field(description="largest absolute difference of an entry, of numbers of one shape")
    entries: int = Field(description="how many entries differ")
    size: int


class Differences(BaseModel):
    """Parameters of two individuals that differ."""

    same: int = Field(description="how many parameters are the same")
    differing: list[ParameterDifference]
    note: str = Field(default="", description="why they can't be compared, '' if they can")


class Picture(BaseModel):
    """A picture for understanding a run."""

    kind: str
    generation: int = Field(description="how many were committed when it was drawn")
    png: str = Field(description="the file in base64; '' if there is none")
    missing: str = Field(description="what the run hasn't that it would show; '' if it is drawn")


class Replay(BaseModel):
    state: Literal["none", "waiting", "running", "done", "failed", "cancelled"]
    seconds: float = Field(description="s that it took so far")
    same: bool | None = Field(description="whether the fitness was that which is stored")
    log: str = Field(description="what it printed")
    pictures: list[str] = Field(description="their names")


class Group(BaseModel):
    """Runs of one job that differ in their seed; medians and quartiles over them."""

    group: str
    runs: list[str]
    seeds: str
    best: list[Number] = Field(description="lower quartile, median, upper quartile")
    evaluations: list[Number]
    failed: list[Number]
    seconds: list[Number]
    reached: int | None
    to_target: list[Number] | None
    x: list[int] = Field(description="evaluations")
    q1: list[Number]
    median: list[Number]
    q3: list[Number]


class Comparison(BaseModel):
    groups: list[Group]
    running: bool = Field(description="whether one of the runs goes on")
    several: bool = Field(description="whether one of the runs has several objectives; its best is of the first")


class Jobs(BaseModel):
    jobs: list[str] = Field(description="job files that can be started")


class Start(BaseModel):
    job: str = Field(max_length=255)
    settings: list[Annotated[str, Field(max_length=300)]] = Field(default=[], max_length=50, description="key=value")
    name: str | None = Field(default=None, max_length=100)
    workers: int | None = Field(default=None, ge=1, le=10_000)
    inline: bool = False


class Resume(BaseModel):
    settings: list[Annotated[str, Field(max_length=300)]] = Field(default=[], max_length=50, description="key=value")
    workers: int | None = Field(default=None, ge=1, le=10_000)
    inline: bool = False


class Notes(BaseModel):
    """What users write beside a run."""

    note: str = Field(max_length=LONGEST_NOTE)
    tags: list[Annotated[str, Field(max_length=50)]] = Field(max_length=MOST_TAGS)


class Launch(BaseModel):
    """The process that this page has started to drive a run; without a status and not running if there is none."""

    run: str
    running: bool
    status: int | None = Field(description="exit status")
    log: str = Field(description="end of what it printed")


class Done(BaseModel):
    message: str
