"""Environment steps a second: rollouts of optimizees.gym without a network, beside gymnasium's bare loop.

    python benchmarks/experiments/gym_loop.py --environment HalfCheetah-v5

All sides step as many environments with the same constant actions, in turns; the median ratio counts, of processor
time. Environments of MuJoCo are also stepped by its own `rollout` on one thread: called for each action, as an agent
that looks needs it, and once for all of them. It gives physical states alone, no observations, rewards and ends.
"""

import argparse
import time
from unittest import mock

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from optimizees.gym import Gym
from optimizees.gym import rollout as module
from optimizees.gym.networks import Perceptron


def make_rollouts(environment, envs, steps):
    """Return timed functions of MuJoCo's rollout: name -> seconds of `steps` actions in each of `envs`."""
    import mujoco
    from mujoco.rollout import Rollout

    world = gymnasium.make(environment).unwrapped
    world.reset(seed=1)
    model, skip, full = world.model, world.frame_skip, mujoco.mjtState.mjSTATE_FULLPHYSICS
    first = np.zeros(mujoco.mj_stateSize(model, full))
    mujoco.mj_getState(model, world.data, first, full)
    first, still = np.tile(first, (envs, 1)), np.zeros((envs, skip * steps, model.nu))
    rollout, data = Rollout(nthread=0), mujoco.MjData(model)

    def each():
        began, now = time.process_time(), first
        for _ in range(steps):
            now = rollout.rollout(model, data, now, still[:, :skip])[0][:, -1]
        return time.process_time() - began

    def once():
        began = time.process_time()
        rollout.rollout(model, data, first, still)
        return time.process_time() - began

    return {"MuJoCo's rollout, an action a call": each, "MuJoCo's rollout, one call": once}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", default="HalfCheetah-v5")
    parser.add_argument("--envs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    gym = Gym(environment=options.environment, network="perceptron", perceptron=Perceptron((2,)), envs=options.envs,
              horizon=options.steps)  # fmt: skip
    setup, makers = gym.setup, [lambda: gymnasium.make(options.environment)] * options.envs
    worlds = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    z = np.zeros(gym.space.size)
    outputs = () if setup.worlds.actions.discrete else (setup.worlds.actions.outputs,)
    still = np.zeros((options.envs, *outputs), np.int64 if not outputs else np.float32)
    nothing = np.zeros(options.envs)

    def free(point, state, now, fresh, words):
        return state, (still, nothing, nothing)

    def ours(act):
        with mock.patch.object(module, "_compile_action", return_value=act):
            began = time.process_time()
            module.roll_out(setup, z, 1, True)
            return time.process_time() - began

    def bare():
        done = setup.worlds.actions.make_conversion()(still)
        began = time.process_time()
        worlds.reset(seed=1)
        for _ in range(options.steps):
            worlds.step(done)
        return time.process_time() - began

    compiled = module._compile_action(setup)  # noqa: SLF001
    sides = {
        "gymnasium alone": bare,
        "ours, no network": lambda: ours(free),
        "ours, a perceptron": lambda: ours(compiled),
    }
    if type(worlds.envs[0].unwrapped).__module__.startswith("gymnasium.envs.mujoco"):
        sides |= make_rollouts(options.environment, options.envs, options.steps)
    ours(compiled), bare()
    times = np.array([[side() for side in sides.values()] for _ in range(options.repeats)])
    total = options.envs * options.steps
    for name, column in zip(sides, times.T, strict=True):
        share = np.median(times[:, 0] / column)
        rate = total / np.median(column)
        print(f"{options.environment}: {name}: {rate:,.0f} steps a second, {share:.2f} of the bare loop")


if __name__ == "__main__":
    main()
