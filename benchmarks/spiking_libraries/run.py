"""Run every side alternately and print the tables of the comparison; run this with the project's Python.

    python benchmarks/spiking_libraries/run.py --peers ../peers_venv/bin/python --spyx ../spyx_venv/bin/python

Each side is a process of its own, for one net and one number of threads; a round is all of them once, and the next
round starts with another side. README.md says what is compared and how the environments are made.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from nets import NAMES, make, reference

HERE = Path(__file__).resolve().parent
PASSES = ("forward", "forward+backward")
TUNABLES = "glibc.malloc.hugetlb=1"  # for all sides alike: big buffers without a page fault for each 4 KiB
TORCH = ("peer_pytorch.py", "peer_snntorch.py", "peer_norse.py", "peer_spikingjelly.py")


def sides(options: argparse.Namespace) -> list[list[str]]:
    """Return the command of each side, without `--net`."""
    more = ["--repeats", str(options.repeats)]
    commands = [[sys.executable, str(HERE / "limit.py"), *more]]
    if (HERE / "ours.py").exists():
        commands.append([sys.executable, str(HERE / "ours.py"), *more])
    without = ["--without", options.without] if options.without else []
    if options.peers:
        commands.append([options.peers, str(HERE / "limit.py"), *more])
        commands += [[options.peers, str(HERE / name), *more, *without] for name in TORCH]
    if options.spyx:
        commands.append([options.spyx, str(HERE / "peer_spyx.py"), *more, *without])
    return commands


def rows_of(command: list[str], cores: set[int], cache: str, limit: float) -> list[dict]:
    """Run one side on `cores` and return the rows that it printed; if it fails, standard error says why."""
    count = str(len(cores))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), count)
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **threads, "GLIBC_TUNABLES": TUNABLES, "TORCHINDUCTOR_CACHE_DIR": f"{cache}/{count}"},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    try:
        out, err = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        err = f"not done after {limit:g} s\n{err}"
    if child.returncode != 0:
        print(f"{' '.join(command)}: {err[-2000:]}", file=sys.stderr)
    side = Path(command[1]).stem
    return [{**json.loads(line), "side": side} for line in out.splitlines() if line.startswith("{")]


def best(rows: Iterable[dict]) -> dict[str, dict[str, list[dict]]]:
    """Return pass -> library -> the rows of its rounds, with the number of threads that has the least median."""
    groups: dict[tuple[str, str], dict[int, list[dict]]] = {}
    for row in rows:
        groups.setdefault((row["pass"], row["library"]), {}).setdefault(row["threads"], []).append(row)
    chosen: dict[str, dict[str, list[dict]]] = {name: {} for name in PASSES}
    for (name, library), by_threads in groups.items():
        chosen[name][library] = min(by_threads.values(), key=lambda rounds: median(r["ms_median"] for r in rounds))
    return chosen


def ratio(rounds: list[dict], other: list[dict] | None) -> str:
    """Return how many times as long as `other` these rounds took: the median of the ratios within a round."""
    pairs = {r["round"]: r["ms_median"] for r in other or []}
    ratios = [r["ms_median"] / pairs[r["round"]] for r in rounds if r["round"] in pairs]
    return f"{median(ratios):.2f}" if ratios else "–"


def fastest_limit(rows: list[dict]) -> list[dict]:
    """Return `rows` with one limit a pass, that of the faster BLAS; which it is stands in its version."""
    others = [r for r in rows if r["side"] != "limit"]
    for name in PASSES:
        by_version: dict[str, list[dict]] = {}
        for row in rows:
            if row["side"] == "limit" and row["pass"] == name:
                by_version.setdefault(row["version"], []).append(row)
        if by_version:
            others += min(by_version.values(), key=lambda found: min(r["ms_median"] for r in found))
    return others


def table(rows: list[dict]) -> list[str]:
    """Return the lines of one net's table, by the time of forward and backward together."""
    chosen = best(fastest_limit(rows))
    ours = next((r["library"] for r in rows if r["side"] == "ours"), None)
    lines = [
        "| library | forward, ms | / ours | / limit | forward+backward, ms | / ours | / limit | compile, s | threads "
        "| rate | loss | note |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --- |",
    ]
    both = [name for name in chosen["forward"] if name in chosen["forward+backward"]]
    for library in sorted(both, key=lambda name: median(r["ms_median"] for r in chosen["forward+backward"][name])):
        cells, starts, used = [], [], []
        for name in PASSES:
            rounds = chosen[name][library]
            low = min(r["ms_min"] for r in rounds)
            cells.append(f"{median(r['ms_median'] for r in rounds):.1f} ({low:.1f})")
            cells += [ratio(rounds, chosen[name].get(other)) for other in (ours, "limit")]
            starts.append(min(rounds, key=lambda r: r["round"])["compile_s"])
            used.append(rounds[0]["threads"])
        first = rounds[0]
        start = "–" if starts[0] is None else " + ".join(f"{s:.1f}" for s in starts)
        threads = str(used[0]) if used[0] == used[1] else f"{used[0]}, {used[1]}"
        rate, loss = ("–" if first[k] is None else f"{first[k]:.4g}" for k in ("mean_rate", "loss"))
        name = f"**{library}**" if library == ours else library
        cells += [start, threads, rate, loss, f"{first['version']}; {first['note']}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> int:
    """Run the rounds, keep each row in `--out`, and print a table for each net."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="Python of the environment with PyTorch and the libraries on it")
    parser.add_argument("--spyx", help="Python of the environment with spyx")
    parser.add_argument("--nets", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="each is tried, the better is shown")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5, help="timed calls in a round")
    parser.add_argument("--without", metavar="TEXT", help="leave out variants so named: `compiled` starts much sooner")
    parser.add_argument("--limit", type=float, default=900.0, help="end a side's process after this, s")
    parser.add_argument("--out", type=Path, help="append the rows to this file, JSON lines")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if options.rounds < 1 or options.repeats < 1 or not all(1 <= n <= len(cores) for n in options.threads):
        parser.error(f"expected --rounds and --repeats of 1 or more and --threads within 1..{len(cores)}")
    commands = sides(options)
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as cache:  # of compiled code: the first round starts without
        for turn in range(options.rounds):
            shift = turn % len(commands)
            for net in options.nets:
                for count in options.threads:
                    for command in commands[shift:] + commands[:shift]:
                        found = rows_of([*command, "--net", net], set(cores[:count]), cache, options.limit)
                        found = [{**row, "round": turn} for row in found]
                        rows += found
                        if options.out:
                            with options.out.open("a") as stream:
                                stream.writelines(json.dumps(row) + "\n" for row in found)
                        print(f"round {turn + 1}, net {net}, {count} threads: {Path(command[1]).name}", file=sys.stderr)
    for net in options.nets:
        loss, rates = reference(make(net))
        print(f"\n### Net {net}\n\nnumpy reference: loss {loss:.4f}, rates {', '.join(f'{r:.4f}' for r in rates)}\n")
        print("\n".join(table([row for row in rows if row["net"] == net])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
