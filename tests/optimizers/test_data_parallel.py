"""Data-parallel gradients: shards on workers make the step of one worker that has all tasks, and no bit depends on who.

That a worker sees the GPU that `resources` gives it is in tests/workers/test_ray_pool.py.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stepping import with_step

from l2l_snn import BatchOptimizee
from l2l_snn.loop.job import Job
from l2l_snn.loop.run import run
from l2l_snn.results.tables import individuals
from l2l_snn.storage.store import Store
from l2l_snn.workers.in_process import Inline
from l2l_snn.workers.ray_pool import RayPool
from optimizees.cue_association import CueAssociation
from optimizees.cue_association.trials import NOISE, Schedule, Trials, random_trials
from optimizers.gradient_ascent import GradientAscent

pytestmark = pytest.mark.usefixtures("compiled_soon")

SHARD = CueAssociation(
    rule="decay", trials=4, schedule=Schedule(cues=3, cue=10.0, gap=5.0, rests=(10.0, 15.0), horizon=80.0, group=3),
    delta_tau=10.0, hidden=6, w_hidden=2.0, w_out=8.0, alpha=20.0, gain=2.0, precision="float64",
)  # fmt: skip
SEEDS = np.array([11, 12, 13])


@dataclass(frozen=True)
class Failing(BatchOptimizee):
    """SHARD, but for one seed."""

    seed: int = -1
    space = SHARD.space

    def evaluate_batch(self, z, seeds, *, with_grad=False, with_artifacts=False):
        if self.seed in seeds:
            raise FloatingPointError("v diverged at 31.0 ms")
        return SHARD.evaluate_batch(z, seeds, with_grad=with_grad, with_artifacts=with_artifacts)


@jax.jit
def slope_of_all(z, seeds, used):
    """Return fitness and gradient of one batch with the trials of all shards, of which those `used` (shards,) count."""
    parts = []
    for seed in seeds:
        of_trials, _ = jax.random.split(jax.random.key(seed))
        parts.append(random_trials(SHARD.schedule, NOISE[SHARD.noise], of_trials, SHARD.trials))
    axes = Trials(spikes=1, cues=0, deciding=1, answer=0)
    trials = Trials(*(jnp.concatenate(p, axis) for *p, axis in zip(*parts, axes, strict=True)))
    counts = jnp.repeat(used, SHARD.trials)

    def mean_reward(z):
        p = jax.nn.softmax(SHARD.log_odds(trials, SHARD.simulate(SHARD.space.decode(z), trials, 1)[1]))
        of_trial = 2 * jnp.take_along_axis(p, trials.answer[:, None], axis=1)[:, 0] - 1
        return (counts * of_trial).sum() / counts.sum()

    return jax.value_and_grad(mean_reward)(z)


@pytest.mark.parametrize("failing", [-1, 12])
def test_the_mean_over_shards_is_the_gradient_of_one_loss_over_all_of_their_tasks(failing):
    ascent = with_step(GradientAscent, evaluations=3, rule="sgd", learning_rate=1.0)
    z, state = ascent.ask(SHARD.space, ascent.init(SHARD.space, 1))
    done = Inline(Failing(failing), chunk=1).evaluate(z, SEEDS, with_grad=True).evaluation
    told = ascent.tell(SHARD.space, state, z, done)
    with jax.enable_x64(True):
        fitness, gradient = jax.device_get(slope_of_all(z[0], SEEDS.astype(np.uint32), 1.0 * (failing != SEEDS)))
    np.testing.assert_allclose(told.z[0] - z[0], gradient, rtol=1e-9, atol=1e-12)
    assert told.best_fitness == pytest.approx(fitness, rel=1e-12)
    assert np.abs(gradient).max() > 0.01
    assert done.failed.tolist() == (failing == SEEDS).tolist()
    assert np.abs(done.grad[0] - gradient).max() > 0.01  # no shard would do for all


ASCENT = with_step(GradientAscent, evaluations=3, learning_rate=0.1, clip="global_norm")
GENERATIONS = 4


def finished(store, name, evaluator):
    """Run to the end, or go on; return the bytes of all z and seeds, the rows, and the optimizer's last state."""
    job = Job(optimizee={"class": "-"}, optimizer={"class": "-"}, generations=GENERATIONS)
    if name not in [stored.name for stored in store.runs()]:
        store.create(name, "job", {}, SHARD.space)
    stored = run(store, name, job, ASCENT, evaluator)
    rows = individuals(store, name, params=True).drop(columns=["run", "seconds", "worker"])
    state = store.optimizer_state(name, ASCENT.init(SHARD.space, 1))
    return stored.state, rows.to_csv(float_format="%.17g"), [array.tobytes() for array in state]


def test_two_workers_give_the_bytes_of_none_in_every_generation_also_after_an_interruption(tmp_path, monkeypatch):
    with Store(f"sqlite:///{tmp_path / 'l2l.db'}") as store:
        expected = finished(store, "inline", Inline(SHARD))
        assert expected[0] == "finished"
        table = individuals(store, "inline", params=True)
        w = table.filter(regex=r"^param\.w_out").to_numpy().reshape(GENERATIONS, 3, -1)
        assert (w == w[:, :1]).all()  # one z a generation, with a seed for each shard
        assert (np.diff(w[:, 0], axis=0) != 0).any(axis=1).all()
        assert table["seed"].nunique() == 3 * GENERATIONS
        with RayPool(SHARD, workers=2) as pool:
            assert finished(store, "pool", pool) == expected
            assert individuals(store, "pool")["worker"].nunique() == 2
            thirds = 0  # chunks that were the last of their generation
            start = pool.workers.start

            def press(chunk, *rest):
                nonlocal thirds
                thirds += chunk.start == 2
                if thirds == 3:
                    raise KeyboardInterrupt  # in the middle of the third generation
                start(chunk, *rest)

            with monkeypatch.context() as patch:
                patch.setattr(pool.workers, "start", press)
                assert finished(store, "broken", pool)[0] == "stopped"
            assert store.load("broken").generation == 2
            assert finished(store, "broken", pool) == expected
