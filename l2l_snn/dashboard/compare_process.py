"""Several runs compared, by `l2l_snn.results.compare`, in a process of its own: it needs pandas, the page stays small.

    L2L_STORE=sqlite:///l2l.db python -m l2l_snn.dashboard.compare_process '{"runs": ["a-1", "a-2"], "target": null}'

prints {"groups": [...]}, as the API answers it, or {"error": "..."}.
"""

import os
from typing import Any

from l2l_snn.dashboard import processes

POINTS = 500  # of a curve, at most


def compare_runs(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the groups of some runs, with their curves thinned.

    Raises:
        StoreError, ValueError: there are none.
    """

    from l2l_snn.dashboard.models import finite
    from l2l_snn.results.compare import compare, thinned

    def numbers(values: Any) -> list[float | str | None]:
        return [finite(float(value)) for value in values]

    target = arguments["target"]
    table, curves = compare(os.environ["L2L_STORE"], arguments["runs"], target=target)
    groups = []
    for row in table.to_dict("records"):
        curve = curves[curves["group"] == row["group"]]
        curve = curve.iloc[thinned(len(curve), POINTS)]
        columns = ["best", "evaluations", "failed", "seconds"] + ([] if target is None else ["to_target"])
        three = {key: numbers((row[f"{key}_q1"], row[key], row[f"{key}_q3"])) for key in columns}
        groups.append(
            {
                "group": row["group"],
                "runs": row["names"].split(" "),
                "seeds": row["seeds"],
                "to_target": None,
                **three,
                "reached": row.get("reached"),
                "x": curve["evaluations"].astype(int).tolist(),
                **{key: numbers(curve[key]) for key in ("q1", "median", "q3")},
            }
        )
    return {"groups": groups}


if __name__ == "__main__":
    processes.answer(compare_runs)
