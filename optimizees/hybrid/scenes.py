"""Questions about rendered scenes: 3 to 6 things in 3 x 3 cells, in the manner of CLEVR (Johnson et al. 2017).

Kinds of questions, by templates whose words may be left out: "how many [size] [colour] [shape]", "more ... than ...",
"any ...", "what shape | colour | size is the ...", the last of a thing that only one fits.

Legend: S samples, C = 9 cells, L words, V concepts: whether there is anything, 3 shapes, 3 colours, 2 sizes.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from l2l_snn.validate import check_count

GRID, CELL = 3, 8
SIDE = GRID * CELL  # pixels
CONCEPTS = ("thing", "square", "cross", "triangle", "red", "green", "blue", "small", "large")
GROUPS = ((1, 2, 3), (4, 5, 6), (7, 8))  # concepts of which a thing has one each: shape, colour, size
KINDS = ("count", "compare", "exist", "query")
ANSWERS = (*map(str, range(7)), "no", "yes", *CONCEPTS[1:])
WORDS = ("", *CONCEPTS, "how many", "more", "any", "what shape", "what colour", "what size", "than")
LENGTH = 8  # L: more, three words, than, three words
NOISE = 0.05  # standard deviation, of grey values in [0, 1]


class Questions(NamedTuple):
    """Scenes, each with a question, and what it means."""

    scene: np.ndarray  # (S, SIDE, SIDE, 3) uint8
    words: np.ndarray  # (S, L) uint8, of WORDS, filled up with 0
    concepts: np.ndarray  # (S, C, V) uint8, what there is in each cell
    demands: np.ndarray  # (S, 2, V) uint8, which concepts are asked for, and for a comparison compared with
    kind: np.ndarray  # (S,) uint8, of KINDS
    asked: np.ndarray  # (S, V) uint8, which concepts may answer a query
    answer: np.ndarray  # (S,) uint8, of ANSWERS


@lru_cache(maxsize=4)
def make_questions(count: int, seed: int) -> Questions:
    """Return scenes with questions, the four kinds equally often; kept in memory."""
    check_count("make_questions.count", count)
    generator = np.random.default_rng(seed)
    rows = [_make_question(i % len(KINDS), generator) for i in range(count)]
    return Questions(*(np.stack(values) for values in zip(*rows, strict=True)))


def answer_of(kind: str, concepts: np.ndarray, demands: np.ndarray, asked: np.ndarray) -> int:
    """Return the number of the answer, given what there is (C, V), what is asked for (2, V), what may answer (V,)."""
    fits = [(concepts[:, 0] > 0) & (concepts >= demand).all(axis=1) for demand in demands]
    if kind == "count":
        return ANSWERS.index(str(fits[0].sum()))
    if kind == "query":
        return ANSWERS.index(CONCEPTS[int(np.argmax(asked * concepts[fits[0]].sum(axis=0)))])
    return ANSWERS.index("yes" if (fits[0].any() if kind == "exist" else fits[0].sum() > fits[1].sum()) else "no")


def _make_question(kind: int, generator: np.random.Generator) -> tuple[Any, ...]:
    concepts = _make_things(generator)
    things = np.flatnonzero(concepts[:, 0])
    demands, asked = np.zeros((2, len(CONCEPTS)), np.uint8), np.zeros(len(CONCEPTS), np.uint8)
    if KINDS[kind] == "query":
        while True:
            group, thing = generator.integers(len(GROUPS)), generator.choice(things)
            demand = _choose_demand(generator, concepts[thing], without=int(group))
            if ((concepts[:, 0] > 0) & (concepts >= demand).all(axis=1)).sum() == 1:
                break
            concepts = _make_things(generator)
            things = np.flatnonzero(concepts[:, 0])
        demands[0], asked[list(GROUPS[group])] = demand, 1
        first = f"what {('shape', 'colour', 'size')[group]}"
    else:
        for row in range(2 if KINDS[kind] == "compare" else 1):  # half of them fit a thing that is there
            like = concepts[generator.choice(things)] if generator.uniform() < 0.5 else None
            demands[row] = _choose_demand(generator, like)
        first = {"count": "how many", "compare": "more", "exist": "any"}[KINDS[kind]]
    words = [first, *_name_concepts(demands[0])]
    words += ["than", *_name_concepts(demands[1])] if KINDS[kind] == "compare" else []
    numbers = np.array([WORDS.index(word) for word in words] + [0] * (LENGTH - len(words)), np.uint8)
    answer = answer_of(KINDS[kind], concepts, demands, asked)
    scene = _render(concepts, generator)
    return scene, numbers, concepts, demands, np.uint8(kind), asked, np.uint8(answer)


def _make_things(generator: np.random.Generator) -> np.ndarray:
    """Return what there is in each cell, (C, V)."""
    concepts = np.zeros((GRID**2, len(CONCEPTS)), np.uint8)
    for cell in generator.choice(GRID**2, generator.integers(3, 7), replace=False):
        concepts[cell, [0, *(generator.choice(group) for group in GROUPS)]] = 1
    return concepts


def _choose_demand(generator: np.random.Generator, like: np.ndarray | None, without: int = -1) -> np.ndarray:
    """Return concepts (V,) of one to three groups but `without`: those of a thing that is `like` this, or any."""
    groups = [i for i in range(len(GROUPS)) if i != without]
    chosen = generator.permutation(groups)[: generator.integers(1, len(groups) + 1)]
    demand = np.zeros(len(CONCEPTS), np.uint8)
    for i in chosen:
        group = np.array(GROUPS[i])
        demand[generator.choice(group) if like is None else group[like[group] > 0][0]] = 1
    return demand


def _name_concepts(demand: np.ndarray) -> list[str]:
    """Return size, colour and shape in this order, as far as they are asked for."""
    return [CONCEPTS[i] for group in GROUPS[::-1] for i in group if demand[i]]


def _render(concepts: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the scene (SIDE, SIDE, 3), with noise, things up to half a pixel off the middle of their cells."""
    scene = np.full((SIDE, SIDE, 3), 0.2)
    grid = np.arange(CELL) - (CELL - 1) / 2
    for cell in np.flatnonzero(concepts[:, 0]):
        down, right = (grid - generator.uniform(-0.5, 0.5) for _ in range(2))
        y, x = down[:, None], right[None]
        r = 2.0 if concepts[cell, 7] else 3.2
        inside = {
            1: np.maximum(np.abs(x), np.abs(y)) <= r - 0.4,
            2: (np.minimum(np.abs(x), np.abs(y)) <= 0.8) & (np.maximum(np.abs(x), np.abs(y)) <= r),
            3: (y <= 0.8 * r) & (np.abs(x) <= (y + r) / 1.8),
        }[1 + int(np.argmax(concepts[cell, 1:4]))]
        top, left = CELL * (cell // GRID), CELL * (cell % GRID)
        colour = np.full(3, 0.1)
        colour[int(np.argmax(concepts[cell, 4:7]))] = generator.uniform(0.6, 1.0)
        part = scene[top : top + CELL, left : left + CELL]
        part[inside] = colour
    scene += NOISE * generator.standard_normal(scene.shape)
    return np.rint(255 * np.clip(scene, 0, 1)).astype(np.uint8)
