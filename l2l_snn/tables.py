"""The tables of a results store, for users: each takes its URL and returns a tidy DataFrame.

from l2l_snn.tables import generations, individuals, runs
"""

from l2l_snn.results.tables import generations, individuals, runs

__all__ = ["generations", "individuals", "runs"]
