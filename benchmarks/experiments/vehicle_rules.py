"""How often a vehicle reaches its targets after learning: by hand and evolved rules over the same seeds, with a test.

    .venv/bin/python benchmarks/experiments/vehicle_rules.py

A seed is a life: its own first weights, training worlds and unseen worlds, the same for all rules. Seeds 201 to 220
were fixed before anything was seen of them. `evolved` is that of docs/results/vehicle.md; `recorded` learns by hand's
rule from drives of its teacher. Lives are appended to the file of --rows as they end, with all their metrics; those
that it has are not lived again. The test is Wilcoxon's signed-rank test on the differences of `reached` within a seed,
two-sided; the interval is that of 10,000 bootstrap means of the differences. In the end, how the lives that reach next
to nothing differ in their training from the others: means of both groups.
"""

import argparse
import json
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import wilcoxon

from optimizees.vehicle import Training, Vehicle

EVOLVED = {
    "eta": 0.029, "a_plus": 3.9, "a_minus": 0.41, "tau_plus": 20.0, "tau_minus": 3.7, "tau_e": 21.0, "w_max": 6.6,
    "w_start": 3.0, "cruise": 0.84, "sharp": 0.99, "shy": 1.26,
}  # fmt: skip
SHOWN = ("reached", "collided", "late")
TRAINED = ("training_reached", "training_collided", "training_late", "training_steps", "drift")
FAILED = 0.05  # a life that reaches no larger share of its targets has failed


def genome(rule: str, vehicle: Vehicle) -> np.ndarray:
    """Return z (D,) of a rule."""
    return vehicle.space.encode(EVOLVED) if rule == "evolved" else vehicle.by_hand


def summary(rows: list[dict], rules: list[str]) -> None:
    """Print a row a seed, the means, and each pair's difference with its test."""
    seeds = sorted({row["seed"] for row in rows})
    by = {(row["rule"], row["seed"]): row for row in rows}
    seeds = [seed for seed in seeds if all((rule, seed) in by for rule in rules)]
    print(f"| seed | {' | '.join(f'{rule}: {name}' for rule in rules for name in SHOWN)} |")
    print("| --- |" + " --- |" * (len(rules) * len(SHOWN)))
    table = np.array([[by[rule, seed][name] for rule in rules for name in SHOWN] for seed in seeds])
    for seed, values in zip([*seeds, "mean"], [*table, table.mean(axis=0)], strict=True):
        print(f"| {seed} | {' | '.join(f'{100 * value:.1f} %' for value in values)} |")
    for one, other in combinations(rules, 2):
        apart = np.array([by[other, seed]["reached"] - by[one, seed]["reached"] for seed in seeds])
        means = np.random.default_rng(1).choice(apart, (10_000, len(apart))).mean(axis=1)
        low, high = 100 * np.quantile(means, (0.025, 0.975))
        text = f"{other} - {one}: {100 * apart.mean():+.1f} points, 95 % from {low:+.1f} to {high:+.1f}"
        better = f"better on {(apart > 0).sum()} of {len(apart)} seeds"
        p = wilcoxon(apart).pvalue if (apart != 0).sum() > 1 else 1.0
        print(f"\n{text}; {better}; Wilcoxon p = {p:.2g}")
    print(f"\n| rule | reached | lives | {' | '.join((*SHOWN[1:], *TRAINED))} |")
    print("| --- |" + " --- |" * (2 + len(SHOWN[1:]) + len(TRAINED)))
    for rule in rules:
        for failed in (True, False):
            group = [by[rule, seed] for seed in seeds if (by[rule, seed]["reached"] <= FAILED) == failed]
            if not group:
                continue
            cells = [f"{np.mean([row[name] for row in group]):.3g}" for name in (*SHOWN[1:], *TRAINED)]
            share = f"{'at most' if failed else 'over'} {100 * FAILED:.0f} %"
            print(f"| {rule} | {share} | {len(group)} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(201, 221)], metavar="SEED")
    parser.add_argument("--rules", nargs="+", default=["hand", "evolved"], choices=("hand", "evolved", "recorded"))
    parser.add_argument("--budget", type=int, default=300, help="control steps of learning")
    parser.add_argument("--worlds", type=int, default=3, help="training worlds at most")
    parser.add_argument("--tests", type=int, default=200, help="unseen worlds")
    parser.add_argument("--rows", type=Path, default=Path("runs/vehicle_rules.jsonl"), help="file of lives lived")
    options = parser.parse_args()
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in options.rows.read_text().splitlines()] if options.rows.exists() else []
    setting = {"budget": options.budget, "worlds": options.worlds, "tests": options.tests}
    rows = [row for row in rows if all(row[key] == value for key, value in setting.items())]
    done = {(row["rule"], row["seed"]) for row in rows}
    for seed in options.seeds:
        for rule in options.rules:
            if (rule, seed) in done:
                continue
            data = "recorded" if rule == "recorded" else "driving"
            training = Training(worlds=options.worlds, budget=options.budget, data=data)
            vehicle = Vehicle(training=training, tests=options.tests)
            found = vehicle.evaluate_batch(genome(rule, vehicle)[None], np.array([seed])).metrics
            rows.append({"rule": rule, "seed": seed, **setting, **{name: float(x[0]) for name, x in found.items()}})
            with options.rows.open("a") as file:
                print(json.dumps(rows[-1]), file=file)
    summary([row for row in rows if row["seed"] in options.seeds], options.rules)


if __name__ == "__main__":
    main()
