"""Does an optimizee keep the contract of `BatchOptimizee`?

Legend: P individuals, D search coordinates.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from l2l_snn.checks.common import Check, fingerprint, frozen_json, globals_untouched, rebuilt, run_claims
from l2l_snn.evaluation import Evaluation, in_line
from l2l_snn.optimizee import BatchOptimizee, JaxOptimizee, validated
from l2l_snn.space import Space
from l2l_snn.validate import message


def check_optimizee(
    optimizee: BatchOptimizee, *, smooth: bool = False, individuals: int = 6, seed: int = 1
) -> list[Check]:
    """Check an optimizee against the contract of `BatchOptimizee`; it is evaluated about 20 times `individuals` times.

    Args:
        optimizee: what to check.
        smooth: also compare its gradient with finite differences (a surrogate gradient would not agree).
        individuals: P of the batches, >= 4.
        seed: of the random z and seeds.
    """
    return run_claims(CLAIMS | (SMOOTH if smooth else {}), Probe(optimizee, individuals, seed))


class Probe:
    """An optimizee with random z and seeds to evaluate."""

    def __init__(self, optimizee: BatchOptimizee, individuals: int, seed: int):
        self.optimizee = optimizee
        self.individuals = individuals
        self.seed = seed

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    @property
    def seeds(self) -> np.ndarray:
        return self.rng().integers(1, 2**31, self.individuals)

    def z(self) -> np.ndarray:
        return self.optimizee.space.sample(self.rng(), self.individuals)

    def batch(self, z: np.ndarray, seeds: np.ndarray, with_grad: bool, artifacts: bool) -> Evaluation:
        """Return the evaluation of some individuals in canonical form; raise what `validated` finds."""
        result = self.optimizee.evaluate_batch(z, seeds, with_grad=with_grad, with_artifacts=artifacts)
        return validated(self.optimizee, result, len(z), with_grad)

    @cached_property
    def cause(self) -> str:
        """Why every individual fails, if that is one reason: then there is nothing to compare; "" if not."""
        texts = set(self.batch(self.z(), self.seeds, False, False).errors)
        if len(texts) > 1 or texts == {""}:
            return ""
        expected = f"at most half of {self.individuals} random z to fail"
        return message("fitness", expected, f"all of them, for one reason: {texts.pop()}")

    def evaluate(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, artifacts: bool = False
    ) -> Evaluation:
        """Return the evaluation of some individuals; raise why every one fails."""
        if self.cause:
            raise ValueError(self.cause)
        return self.batch(z, seeds, with_grad, artifacts)


def _check_space(probe: Probe) -> str:
    space = probe.optimizee.space
    if not isinstance(space, Space):
        return message("space", "a Space", type(space).__name__, "e.g. space = Space(w=Real(-1, 1))")
    again = Space.from_json(space.to_json())
    return "" if again == space else message("space", f"{space} after a round trip through JSON", again)


def _check_form(probe: Probe) -> str:
    probe.batch(probe.z(), probe.seeds, with_grad=False, artifacts=True)
    return ""


def _check_single(probe: Probe) -> str:
    probe.evaluate(probe.z()[:1], probe.seeds[:1])
    return ""


def _check_repeats(probe: Probe) -> str:
    first, second = (probe.evaluate(probe.z(), probe.seeds) for _ in range(2))
    todo = "draw all random numbers from the seed, keep no state between evaluations"
    return _same_rows(first, second, "z and seed were the same", todo)


def _check_watched(probe: Probe) -> str:
    plain, watched = (probe.evaluate(probe.z(), probe.seeds, artifacts=artifacts) for artifacts in (False, True))
    pairs = {"fitness": (plain.fitness, watched.fitness)}
    pairs |= {f"metrics[{name!r}]": (value, watched.metrics.get(name)) for name, value in plain.metrics.items()}
    for name, (first, second) in pairs.items():  # a compiler may round otherwise with other outputs
        if second is None or not np.allclose(first, second, rtol=1e-4, atol=1e-6, equal_nan=True):
            todo = "a replay asks for artifacts: they must change nothing else"
            return message(name, f"{first}, as without artifacts", second, todo)
    return ""


def _check_rebuilds(probe: Probe) -> str:
    first = probe.evaluate(probe.z(), probe.seeds)
    second = Probe(rebuilt(probe.optimizee), probe.individuals, 0).evaluate(probe.z(), probe.seeds)
    return _same_rows(
        first, second, "class and fields were the same", "what an evaluation needs must follow from the fields"
    )


def _check_position(probe: Probe) -> str:
    order = np.roll(np.arange(probe.individuals), 1)
    first = probe.evaluate(probe.z(), probe.seeds).take(order.tolist())
    second = probe.evaluate(probe.z()[order], probe.seeds[order])
    return _same_rows(first, second, "only their order changed", "let no individual read its row number")


def _check_neighbours(probe: Probe) -> str:
    half = probe.individuals // 2
    whole = probe.evaluate(probe.z(), probe.seeds)
    for kept, others in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        z, seeds = probe.z(), probe.seeds
        z[others], seeds[others] = 0.5 * z[others][::-1], seeds[others][::-1] // 2 + 1
        todo = "let nothing flow from one individual to the next"
        text = _same_rows(whole.take(kept), probe.evaluate(z, seeds).take(kept), "only their neighbours changed", todo)
        if text:
            return text
    return ""


def _any_seed(probe: Probe) -> str:
    seeds = np.resize([1, 2**31 - 1], probe.individuals)
    errors = [text for text in probe.evaluate(probe.z(), seeds).errors if text]
    before = [text for text in probe.evaluate(probe.z(), probe.seeds).errors if text]
    return message("seed", "any in [1, 2**31)", repr(in_line(errors[0]))) if errors and not before else ""


def _mostly_finite(probe: Probe) -> str:
    evaluation = probe.evaluate(probe.z(), probe.seeds)
    failed = int(evaluation.failed.sum())
    if 2 * failed <= probe.individuals:
        return ""
    got = f"{failed} failed, the first: {in_line(next(text for text in evaluation.errors if text))}"
    return message("fitness", f"at most half of {probe.individuals} random z to fail", got, "narrow the space")


def _metric_names(probe: Probe) -> str:
    z = probe.z()
    rows = [probe.evaluate(z[i : i + 1], probe.seeds[i : i + 1]) for i in range(probe.individuals)]
    names = [sorted(row.metrics) for row in rows if not row.failed[0]]
    if all(entry == names[0] for entry in names):
        return ""
    other = next(entry for entry in names if entry != names[0])
    return message("metrics", f"{names[0]} from every individual", other, "give a missing one as nan")


def _check_arguments(probe: Probe) -> str:
    z, seeds = probe.z(), probe.seeds
    before = fingerprint((z, seeds))
    probe.evaluate(z, seeds)
    changed = fingerprint((z, seeds)) != before
    return message("z, seeds", "unchanged", "changed in place", "copy first") if changed else ""


def _check_experience(probe: Probe) -> str:
    if not probe.optimizee.has_experience:
        return ""
    z, seeds = probe.z()[:2], probe.seeds[:2]
    found = validated(probe.optimizee, probe.optimizee.gather(z, seeds), 2, False, True)
    fitness = probe.evaluate(z, seeds).fitness
    if fingerprint(fitness) != fingerprint(found.fitness):
        todo = "a replay evaluates without experience: act by the same draws"
        return message("fitness", f"{fitness}, as without experience", found.fitness, todo)
    for row, one in zip(z, found.experience, strict=True):
        if one is None:
            continue
        import jax

        whole = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), one.segments)
        log_probs = np.asarray(one.policy.log_probs(jax.numpy.asarray(row, "float32"), whole)[0])
        share = np.isclose(log_probs.reshape(one.log_probs.shape), one.log_probs, rtol=1e-3, atol=1e-3).mean()
        if share < 0.95:  # rounding may move a spike
            todo = "keep the random keys and the network's states of the rollout in `segments`"
            return message("log_probs", "those of the rollout, with its own z", f"{share:.0%} of them", todo)
    return ""


def _check_gradient(probe: Probe) -> str:
    if not probe.optimizee.has_grad:
        return ""
    evaluation = probe.evaluate(probe.z(), probe.seeds, with_grad=True)
    plain = probe.evaluate(probe.z(), probe.seeds)
    lost = np.flatnonzero(evaluation.failed & ~plain.failed)
    if lost.size:
        todo = "look for sqrt(0), x / 0 or 0 * inf in the branch of a `where` that isn't taken"
        return message("grad", "finite where fitness is", in_line(evaluation.errors[lost[0]]), todo)
    return ""


def _check_differences(probe: Probe) -> str:
    """Compare d fitness along random directions with central differences."""
    optimizee = probe.optimizee
    single = isinstance(optimizee, JaxOptimizee) and optimizee.precision == "float32"
    step, rounding = (1e-2, 1e-7) if single else (1e-5, 1e-16)
    low, high = optimizee.space.low, optimizee.space.high
    z = np.where(np.isfinite(low) & np.isfinite(high), 0.05 + 0.9 * probe.z(), probe.z())  # off the bounds' clipping
    direction = probe.rng().standard_normal(z.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    center = probe.evaluate(z, probe.seeds, with_grad=True)
    if center.grad is None:
        return message("grad", "an array", "None")
    ahead = probe.evaluate(z + step * direction, probe.seeds).fitness
    behind = probe.evaluate(z - step * direction, probe.seeds).fitness
    slope, claimed = (ahead - behind) / (2 * step), (center.grad * direction).sum(axis=1)
    tolerance = 0.02 * np.maximum(np.abs(slope), np.abs(claimed)) + 100 * rounding * (1 + np.abs(ahead)) / step
    wrong = np.flatnonzero(~(np.abs(slope - claimed) <= tolerance))
    if wrong.size:
        i = wrong[0]
        return message("grad", f"slope {slope[i]:g} along a direction, from differences", f"{claimed[i]:g}")
    return ""


def _same_rows(first: Evaluation, second: Evaluation, though: str, todo: str) -> str:
    for name in ("fitness", "metrics"):
        if fingerprint(getattr(first, name)) != fingerprint(getattr(second, name)):
            got = f"{getattr(first, name)} and then {getattr(second, name)}"
            return message(name, f"the same bytes, since {though}", got, todo)
    texts = [[in_line(text) for text in evaluation.errors] for evaluation in (first, second)]
    return "" if texts[0] == texts[1] else message("errors", str(texts[0]), str(texts[1]), todo)


CLAIMS: dict[str, Callable[[Probe], str]] = {
    "is a frozen dataclass whose fields survive JSON": lambda probe: frozen_json(probe.optimizee),
    "has a space that survives JSON": _check_space,
    "gives an evaluation of the right form": _check_form,
    "succeeds for most random z": _mostly_finite,
    "takes a batch of one": _check_single,
    "gives the same bytes for the same z and seed": _check_repeats,
    "gives the same fitness and metrics when artifacts are wanted": _check_watched,
    "gives the same bytes when rebuilt from its fields": _check_rebuilds,
    "doesn't depend on the position in the batch": _check_position,
    "doesn't depend on the neighbours in the batch": _check_neighbours,
    "takes any seed": _any_seed,
    "names the same metrics for every individual": _metric_names,
    "leaves its arguments as they were": _check_arguments,
    "leaves the global random generators as they were": lambda probe: globals_untouched(
        lambda: probe.evaluate(probe.z(), probe.seeds)
    ),
    "has a finite gradient if it declares one": _check_gradient,
    "repeats its experience if it gathers some": _check_experience,
}
SMOOTH: dict[str, Callable[[Probe], str]] = {"has the gradient that finite differences show": _check_differences}
