"""NSGA-II: an elitist genetic algorithm for several objectives, by fronts of non-dominated individuals and crowding.

Deb, Pratap, Agarwal & Meyarivan (2002), A fast and elitist multiobjective genetic algorithm: NSGA-II. Simulated binary
crossover (SBX): Deb & Agrawal (1995), Simulated binary crossover for continuous search space. Polynomial mutation: Deb
& Goyal (1996), A combined genetic adaptive search (GeneAS) for engineering design.

Selection is DEAP's own (Fortin et al. 2012): `selNSGA2`, and `selTournamentDCD` for the parents. SBX and polynomial
mutation are vectorised here, since DEAP's loop over genes costs more than evaluating the population; from the same
random numbers they give DEAP's results.

Legend: P individuals, D search coordinates, M objectives, N candidates, K crossing pairs or mutating individuals.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from deap import base, tools

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, with_members
from l2l_snn.seeding import generator_of, python_random, stream
from l2l_snn.space import Space
from l2l_snn.validate import AtLeast, NotNegative, Share, Within, check_shape

Index = Annotated[float, Within(0.0, 1000.0), "take 5 to 30; the paper takes 20"]
CLOSE = 1e-14  # genes nearer than this aren't crossed, as in Deb's program


class NSGA2State(NamedTuple):
    """What NSGA-II knows between generations."""

    words: np.ndarray  # (2,) the random stream
    told: np.ndarray  # () int64, generations told so far
    z: np.ndarray  # (P of the last tell, D) the parents, best fronts first; before the first tell the first sample
    fitness: np.ndarray  # (P, M) their fitness, nan where failed; (P, 0) before the first tell
    crowding: np.ndarray  # (P,) their crowding distance in the front that they were selected from


class Candidate:
    """What DEAP selects: it reads and writes `fitness`, we read the row."""

    def __init__(self, fitness: Any, row: int):
        self.fitness = fitness
        self.row = row


def candidates(fitness: np.ndarray, rows: np.ndarray) -> list[Candidate]:
    """Return DEAP's individuals of some rows of the (N, M) fitness; a failed one is dominated by all that are not."""
    values = np.where(np.isfinite(fitness), fitness, -np.inf)[rows]
    kind = type("Fitness", (base.Fitness,), {"weights": (1.0,) * values.shape[1]})
    return [Candidate(kind(value), row) for value, row in zip(values.tolist(), rows.tolist(), strict=True)]


def survivors(fitness: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which candidates live on: Deb et al., the loop of section III-C.

    Args:
        fitness: (N, M), larger is better, nan in the row of a failed one.
        count: P <= N, how many live on.

    Returns:
        rows (P,), by front, then (in the last one that fits only in part) by crowding distance, failed ones last,
        the newest of them first; and their crowding distances (P,), infinite at the ends of a front, 0 if failed.
    """
    ok = np.asarray(np.isfinite(fitness).all(axis=1))
    if fitness.shape[1] == 1:  # then fronts are ranks, and DEAP's fast sort needs two objectives
        rows = np.lexsort((-np.arange(len(ok)) * ~ok, np.where(ok, -fitness[:, 0], np.inf)))[:count]
        return rows, np.where(ok[rows], np.inf, 0.0)
    chosen = tools.selNSGA2(candidates(fitness, np.flatnonzero(ok)), min(count, int(ok.sum())), nd="log")
    failed = np.flatnonzero(~ok)[::-1][: count - len(chosen)]
    rows = np.array([candidate.row for candidate in chosen] + failed.tolist(), np.int64)
    crowding = [float(candidate.fitness.crowding_dist) for candidate in chosen]
    return rows, np.array(crowding + [0.0] * len(failed))


def pareto_front(fitness: np.ndarray) -> np.ndarray:
    """Return the rows (F,) of the (N, M) fitness that no other row dominates and that didn't fail, in order.

    >>> pareto_front(np.array([[1.0, 2.0], [2.0, 1.0], [0.0, 2.0], [np.nan, 9.0]]))
    array([0, 1])
    """
    rows = np.flatnonzero(np.isfinite(fitness).all(axis=1))
    values = fitness[rows]
    no_worse, better = np.ones((len(rows),) * 2, bool), np.zeros((len(rows),) * 2, bool)
    for column in values.T:  # [i, j]: i against j, one objective at a time to keep the arrays small
        no_worse &= column[:, None] >= column[None, :]
        better |= column[:, None] > column[None, :]
    return rows[~(no_worse & better).any(axis=0)]


def sbx(
    first: np.ndarray, second: np.ndarray, low: np.ndarray, high: np.ndarray, eta: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the two (K, D) children of two (K, D) parents; as DEAP's cxSimulatedBinaryBounded for each pair.

    Bounds low and high are (D,); where they are infinite, this is the unbounded SBX of the paper.
    """
    gates = generator.random(first.shape)
    genes = np.flatnonzero((gates <= 0.5) & (np.abs(first - second) > CLOSE))
    u, swap = generator.random((2, len(genes)))
    children = first.copy(), second.copy()
    a, b = first.reshape(-1)[genes], second.reshape(-1)[genes]
    near, far = np.minimum(a, b), np.maximum(a, b)
    gap, middle = far - near, 0.5 * (near + far)
    column = genes % first.shape[1]

    def reach(room: np.ndarray) -> np.ndarray:
        """Return half the distance of the children, (genes,), with `room` between parents and bound."""
        alpha = 2.0 - (1.0 + 2.0 * room / gap) ** -(eta + 1.0)  # 2 minus the mass beyond the bound
        inside = u * alpha
        return 0.5 * gap * np.where(inside <= 1.0, inside, 1.0 / (2.0 - inside)) ** (1.0 / (eta + 1.0))

    lower = np.clip(middle - reach(near - low[column]), low[column], high[column])
    upper = np.clip(middle + reach(high[column] - far), low[column], high[column])
    children[0].reshape(-1)[genes] = np.where(swap <= 0.5, upper, lower)
    children[1].reshape(-1)[genes] = np.where(swap <= 0.5, lower, upper)
    return children


def polynomial(
    z: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    width: np.ndarray,
    eta: float,
    probability: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """Return (K, D) z, each gene with some probability mutated; as DEAP's mutPolynomialBounded where bounded.

    A gene moves by less than its range, width (D,), and stays in its bounds low and high (D,).
    """
    genes = np.flatnonzero(generator.random(z.shape) <= probability)
    u = generator.random(len(genes))
    column = genes % z.shape[1]
    mutated = z.copy()
    x, width = z.reshape(-1)[genes], width[column]
    room = np.where(u < 0.5, x - low[column], high[column] - x) / width  # to the bound on the side it moves to
    tail = np.minimum(u, 1.0 - u)  # < 0.5 moves down, else up, both by the same law
    reach = 1.0 - (2.0 * tail + (1.0 - 2.0 * tail) * np.maximum(1.0 - room, 0.0) ** (eta + 1.0)) ** (1.0 / (eta + 1.0))
    x = np.where(u < 0.5, x - reach * width, x + reach * width)
    mutated.reshape(-1)[genes] = np.clip(x, low[column], high[column])
    return mutated


@dataclass(frozen=True)
class NSGA2(Optimizer[NSGA2State]):
    """NSGA-II for one objective or several, larger is better in each.

    Parents are kept with the fitness of their one evaluation, so with noisy fitness a lucky one stays. The
    population is the answer: `pareto_front(state.fitness)` gives the rows of its front.

    When P changes, the parents that there are have as many children as the new P, and of all of them P live on.
    """

    several_objectives: ClassVar[bool] = True
    population: Annotated[int, AtLeast(2), "a pair of parents has two"] = 100  # P
    crossover_probability: Share = 0.9  # of a pair, (0, 1), (2, 3), ...; a crossed pair exchanges half of its genes
    crossover_eta: Index = 20.0  # distribution index of SBX: larger keeps children nearer to their parents
    mutation_eta: Index = 20.0  # distribution index of polynomial mutation: larger makes smaller steps
    # how many genes of a child mutate on average, so each with this over D
    mutated_genes: Annotated[NotNegative, "0 switches mutation off"] = 1.0

    def init(self, space: Space, seed: int) -> NSGA2State:
        generator, words = generator_of(stream(seed))
        z = space.sample(generator, self.population)
        fitness, crowding = np.empty((self.population, 0)), np.zeros(self.population)
        return NSGA2State(words, np.array(0), z, fitness, crowding)

    def started(self, space: Space, state: NSGA2State, z: np.ndarray) -> NSGA2State:
        return state._replace(z=with_members(state.z, z))

    def ask(self, space: Space, state: NSGA2State) -> tuple[np.ndarray, NSGA2State]:
        if state.told == 0:
            return state.z, state
        generator, words = generator_of(state.words)
        children = space.clipped(state.z[self._choose_parents(state, generator)])
        pairs = 2 * np.flatnonzero(generator.random(self.population // 2) < self.crossover_probability)
        children[pairs], children[pairs + 1] = sbx(
            children[pairs], children[pairs + 1], space.low, space.high, self.crossover_eta, generator
        )
        probability = min(1.0, self.mutated_genes / children.shape[1])
        if probability > 0.0:
            # a free coordinate has no range: it gets that of a uniform distribution as wide as its first sample
            width = np.where(space.bounded, 1.0, 12**0.5 * space.scale)
            children = polynomial(children, space.low, space.high, width, self.mutation_eta, probability, generator)
        return children, state._replace(words=words)

    def _choose_parents(self, state: NSGA2State, generator: np.random.Generator) -> np.ndarray:
        """Return the rows (P,) of the parents: DEAP's binary tournaments by dominance, then by crowding distance."""
        people = len(state.z)  # another number than P after a change of P
        entrants = candidates(state.fitness, np.arange(people))
        for entrant in entrants:
            entrant.fitness.crowding_dist = state.crowding[entrant.row]
        # it takes four at a time: a population that isn't a multiple gets up to three more entrants
        extra = generator.permutation(people)[: -people % 4]
        entrants += [entrants[row] for row in extra]
        chosen: list[Candidate] = []
        with python_random(generator):
            while len(chosen) < self.population:
                chosen += tools.selTournamentDCD(entrants, len(entrants))
        return np.array([entrant.row for entrant in chosen[: self.population]])

    def learn(
        self, space: Space, state: NSGA2State, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> NSGA2State:
        fitness = np.asarray(evaluation.fitness.reshape(len(z), -1), np.float64)
        if state.told > 0:  # R_t, parents and children
            check_shape("NSGA2: fitness", fitness, (len(z), state.fitness.shape[1]))
            z, fitness = np.concatenate([state.z, z]), np.concatenate([state.fitness, fitness])
        rows, crowding = survivors(fitness, self.population)
        told = np.array(state.told + 1)
        return state._replace(told=told, z=z[rows], fitness=fitness[rows], crowding=crowding)

    def recommend(self, space: Space, state: NSGA2State) -> np.ndarray:
        """Return the z of the front's individual nearest to the ideal point, objectives scaled to the front's range.

        The ideal point has the best of every objective; the nearest to it is a compromise between them all, and with
        one objective it's the best so far. Before any success it's the first of the population.
        """
        front = pareto_front(state.fitness) if state.told > 0 else np.empty(0, np.int64)
        if not len(front):
            return space.clipped(state.z[0])
        values = state.fitness[front]
        best, span = values.max(axis=0), np.ptp(values, axis=0)
        distance = (((best - values) / np.where(span > 0, span, 1.0)) ** 2).sum(axis=1)
        return state.z[front[np.argmin(distance)]]
