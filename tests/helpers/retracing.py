"""A run without generations told again from its store: the same order of asks and tells gives the same z."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.loop.job import Job
from l2l_snn.optimizer import Optimizer
from l2l_snn.storage.store import Store


def retrace(store: Store, name: str, job: Job, optimizer: Optimizer) -> Iterator[Any]:
    """Yield the optimizer's state after each chunk of a run without generations, told again in the recorded order.

    Raises:
        ValueError: an ask gives another z than the stored one.
    """
    stored = store.load(name)
    state = optimizer.init(stored.space, job.seed)
    asked: dict[int, np.ndarray] = {}
    count = 0
    for generation in range(stored.generation):
        population = store.individual(name, generation, 0).population
        for start in range(0, population, job.chunk):
            rows = [store.individual(name, generation, index) for index in range(start, start + job.chunk)]
            while count < rows[0].metrics["asks"]:
                z, state = optimizer.ask(stored.space, state)
                for one in z:
                    asked[count] = one
                    count += 1
            for row in rows:
                number = int(row.metrics["ask"])
                if asked.pop(number).tobytes() != row.z.tobytes():
                    todo = "was the code changed?"
                    raise ValueError(f"run {name!r}: ask {number} gives another z than the stored one; {todo}")
            names = [key for key in rows[0].metrics if key not in ("ask", "asks")]
            metrics = {key: np.array([row.metrics[key] for row in rows]) for key in names}
            fitness = np.array([row.fitness for row in rows])
            evaluation = Evaluation(fitness, metrics, errors=tuple(row.error for row in rows))
            state = optimizer.tell(stored.space, state, np.stack([row.z for row in rows]), evaluation)
            yield state
