"""What became of individuals that were evaluated, and who evaluates them.

Legend: P individuals, D search coordinates, M objectives. Of experience: B environments side by side, H steps in each,
S = H / K segments of K steps, O numbers of an observation, A actions, N any number of segments.

The text of an error is one line, which says what was raised at which lines of the user's own code; below it may stand
the traceback.
"""

import sysconfig
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

LONGEST_TEXT = 8_000  # characters of an error with its traceback
LONGEST_LINE = 500  # characters of what was raised
FRAMES = 3  # lines of the user's own code that are named, the innermost ones
Wanted = Literal["fitness", "grad", "experience"]  # what is asked of an evaluation, the fitness in any case
Learning = Literal["log_probs", "action_values"]  # which method of a policy an optimizer learns by


class Policy(Protocol):
    """What acted, as an optimizer sees it that learns from experience: pure functions of z, traced by JAX.

    An optimizee is its own policy: a frozen dataclass, so that what was compiled for it is found again.
    """

    def log_probs(self, z: Any, segments: Any) -> tuple[Any, Any]:
        """Return how likely actions that were taken are for other search coordinates, and how free the choice is.

        Args:
            z: (D,) search coordinates.
            segments: of N segments, leading axis N, what `Experience.segments` holds.

        Returns:
            (N, K) logarithms of the probabilities (densities) of the actions, (N, K) entropies of their distributions.
        """
        ...

    def action_values(self, z: Any, observations: Any) -> Any:
        """Return (N, A) what the network gives for observations (N, O), one number for each of A discrete actions."""
        ...

    def rewire(self, before: Any, after: Any, rate: Any, words: Any) -> Any:
        """Return where a step of training ends: `after`, or what of it the connections of the network allow.

        Args:
            before: (D,) search coordinates.
            after: (D,) where the step rule would go.
            rate: () its learning rate.
            words: (2,) uint32 key data of what is drawn.
        """
        ...


class Acting(Protocol):
    """An optimizee that acts, as an optimizer sees it before the first rollout."""

    @property
    def segments(self) -> tuple[int, int] | None:
        """How many segments the experience of an evaluation has, N = B S, and K; None: not known before."""
        ...

    def check_learning(self, by: Learning) -> None:
        """Refuse to be learned from by a method whose values don't hold for what acts.

        Raises:
            ValueError: see `validate.message`.
        """
        ...


class Experience(NamedTuple):
    """What an individual met and did in a rollout; `policy` knows how likely that was.

    A step that is neither `terminated` nor `truncated` is followed by the next one in its row. The last ones of the
    rows are cut off: what would have come is worth what `next_observations` are worth, as after a truncation.
    """

    observations: np.ndarray  # (B, H, O) before each action, of order one
    next_observations: np.ndarray  # (B, H, O) after it, before any reset
    rewards: np.ndarray  # (B, H)
    terminated: np.ndarray  # (B, H) bool, the task came to an end: nothing follows
    truncated: np.ndarray  # (B, H) bool, the episode was broken off, e.g. by a limit of time
    actions: np.ndarray  # (B, H) the numbers of discrete actions, or (B, H, A) continuous ones
    log_probs: np.ndarray  # (B, H) logarithm of the probability (density) that the action had
    segments: dict[str, Any]  # arrays, or NamedTuples of them, (B, S, ...): all that repeats the segments
    policy: Policy  # who acted


@dataclass(frozen=True)
class Evaluation:
    """What became of P individuals. Larger fitness is better; nan means failed."""

    fitness: np.ndarray  # (P,) or (P, M)
    metrics: dict[str, np.ndarray] = field(default_factory=dict)  # (P,) each: columns `metric.<name>`
    artifacts: dict[str, np.ndarray] = field(default_factory=dict)  # (P, ...) rasters, trajectories; only when asked
    grad: np.ndarray | None = None  # (P, D) d fitness / d z, only when asked
    errors: tuple[str, ...] = ()  # (P,) "" or what went wrong, in the first line; perhaps with the traceback below it
    experience: tuple[Experience | None, ...] = ()  # (P,) only when asked; None of those that failed

    @property
    def failed(self) -> np.ndarray:
        """(P,) bool: which individuals have no usable fitness."""
        return np.asarray(np.isnan(self.fitness).reshape(len(self.fitness), -1).any(axis=1))

    @property
    def score(self) -> np.ndarray:
        """(P,) what `best`, `mean` and the stopping rules read: the fitness, or the first objective."""
        return self.fitness if self.fitness.ndim == 1 else self.fitness[:, 0]

    def filled(self) -> "Evaluation":
        """Return a copy for arithmetic: failed fitness becomes the worst finite one (0 if none), failed grad 0."""
        columns = self.fitness.reshape(len(self.fitness), -1)
        ok = ~self.failed
        worst = columns[ok].min(axis=0) if ok.any() else np.zeros(columns.shape[1])
        fitness = np.where(ok[:, None], columns, worst).reshape(self.fitness.shape)
        grad = None if self.grad is None else np.where(ok[:, None] & np.isfinite(self.grad), self.grad, 0.0)
        return replace(self, fitness=fitness, grad=grad)

    def take(self, rows: Sequence[int] | slice) -> "Evaluation":
        """Return the evaluation of some of the individuals."""
        return Evaluation(
            self.fitness[rows],
            {name: value[rows] for name, value in self.metrics.items()},
            {name: value[rows] for name, value in self.artifacts.items()},
            None if self.grad is None else self.grad[rows],
            tuple(np.array(self.errors, object)[rows]) if self.errors else (),
            tuple(self.experience[i] for i in np.arange(len(self.fitness))[rows]) if self.experience else (),
        )

    @staticmethod
    def join(parts: Sequence["Evaluation"]) -> "Evaluation":
        """Return one evaluation of all the parts' individuals, in order.

        A metric or a gradient that a part lacks is nan there; artifacts that a part lacks are left out.
        """
        counts = [len(part.fitness) for part in parts]
        names = dict.fromkeys(name for part in parts for name in part.metrics)
        metrics = {
            name: np.concatenate([p.metrics.get(name, np.full(n, np.nan)) for p, n in zip(parts, counts, strict=True)])
            for name in names
        }
        width = next((part.grad.shape[1] for part in parts if part.grad is not None), 0)
        grads = [np.full((n, width), np.nan) if p.grad is None else p.grad for p, n in zip(parts, counts, strict=True)]
        shared = [name for name in parts[0].artifacts if all(name in part.artifacts for part in parts)]
        return Evaluation(
            np.concatenate([part.fitness for part in parts]),
            metrics,
            {name: np.concatenate([part.artifacts[name] for part in parts]) for name in shared},
            np.concatenate(grads) if width else None,
            tuple(text for p, n in zip(parts, counts, strict=True) for text in p.errors or ("",) * n),
            tuple(one for p, n in zip(parts, counts, strict=True) for one in p.experience or (None,) * n)
            if any(part.experience for part in parts)
            else (),
        )


def failure(individuals: int, objectives: int, text: str) -> Evaluation:
    """Return the evaluation of individuals that all failed for one reason."""
    shape = (individuals,) if objectives == 1 else (individuals, objectives)
    return Evaluation(np.full(shape, np.nan), errors=(text or "failed without a text",) * individuals)


def describe_error(error: BaseException) -> str:
    """Return what was raised at which lines of the user's own code, and below it the traceback, all bounded.

    An error that this package raised by itself has no traceback.
    """
    line = describe_in_line(error)
    frames = traceback.extract_tb(error.__traceback__)
    if all(Path(frame.filename).is_relative_to(Path(__file__).parent) for frame in frames):
        return line
    return bounded("\n".join([line, "".join(traceback.format_exception(error)).rstrip()]), LONGEST_TEXT)


def describe_in_line(error: BaseException) -> str:
    """Return what was raised at which lines of the user's own code: "KeyError: 'z', at bad.py:43 in evaluate"."""
    try:
        text = str(error)
    except Exception:  # an exception of the user's may fail at that, too
        text = "(its text can't be made)"
    line = " ".join(bounded(f"{type(error).__name__}: {text}", LONGEST_LINE).split()).removesuffix(":")
    places = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in users_frames(error)[-FRAMES:]]
    return f"{line}, at {', '.join(places)}" if places else line


def in_line(text: str) -> str:
    """Return the line of an error's text that says what went wrong, without the traceback."""
    return bounded(text.partition("\n")[0], 2 * LONGEST_LINE)


def users_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames of an error's traceback that are in the user's own code, the innermost last."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users_file(frame.filename)]


@lru_cache(maxsize=1024)
def _is_users_file(name: str) -> bool:
    """Return whether a file is neither this package's, Python's or an installed one, nor code made at run time."""
    path = Path(name)
    ours = (str(Path(__file__).parent), sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return not (name.startswith("<") or installed or any(path.is_relative_to(folder) for folder in ours))


def bounded(text: str, longest: int) -> str:
    """Return a text of about so many characters at most: of a longer one the middle is left out, which a note says.

    >>> bounded("ab" * 100, 20)
    'abababababababa ... (180 characters left out) ... babab'
    """
    if len(text) <= longest + 80:  # with the note it would be no shorter, and a bounded one stays as it is
        return text
    end = longest // 4
    return f"{text[: longest - end]} ... ({len(text) - longest} characters left out) ... {text[len(text) - end :]}"


def describe_number(value: float | None) -> str:
    """Return a fitness or the like as it is shown: "-" where there is none, and no zero with a sign.

    >>> describe_number(-0.0), describe_number(float("nan")), describe_number(1 / 3)
    ('0', '-', '0.333333')
    """
    return "-" if value is None or value != value else f"{value + 0.0:.6g}"


class WorkerStatus(NamedTuple):
    """What a worker of a run does now."""

    worker: str  # host:pid
    generation: int
    first: int  # the individuals that it evaluates, first to last; -1, -1: none
    last: int
    since: float  # s since 1970
