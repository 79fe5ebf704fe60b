"""PPO of Stable-Baselines3, an independent implementation, on an environment that our PPO learns too.

    python -m venv ~/sb3 && ~/sb3/bin/pip install stable-baselines3==2.9.2
    ~/sb3/bin/python benchmarks/experiments/ppo_sb3.py --env Acrobot-v1 --seeds 101 102 103 --steps 100000

It runs in an environment of its own, with stable-baselines3 and without this project. The policy is a perceptron of 2 x
64 tanh units, its critic another; hyper-parameters are those of rl-baselines3-zoo (hyperparams/ppo.yml) where it has
the task, else those of docs/results/deep_rl.md. Where the zoo says `normalize`, observations and rewards are divided by
their running standard deviations. It prints the mean return of 100 fresh episodes of best actions, and
seconds of processor time.
"""

import argparse
import time
from typing import Any

SETTINGS: dict[str, dict[str, Any]] = {
    "Acrobot-v1": {"envs": 16, "normalize": True, "n_steps": 256, "gae_lambda": 0.94, "n_epochs": 4},
    "Pendulum-v1": {
        "envs": 4, "normalize": False, "n_steps": 1024, "gae_lambda": 0.95, "gamma": 0.9, "n_epochs": 10,
        "learning_rate": 1e-3, "use_sde": True, "sde_sample_freq": 4,
    },
}  # fmt: skip
OTHERS = {"envs": 8, "normalize": False, "n_steps": 256, "gae_lambda": 0.95, "n_epochs": 4}
EPISODES, FIRST = 100, 10**6  # seeds of the episodes begin far from those of training


def evaluate(model: Any, name: str, normalise: Any) -> list[float]:
    """Return the returns of fresh episodes."""
    import gymnasium

    world, returns = gymnasium.make(name), []
    for episode in range(EPISODES):
        seen, _ = world.reset(seed=FIRST + episode)
        over, total = False, 0.0
        while not over:
            action, _ = model.predict(normalise(seen), deterministic=True)
            seen, reward, terminated, truncated, _ = world.step(action)
            over, total = terminated or truncated, total + float(reward)
        returns.append(total)
    return returns


def train(name: str, seed: int, steps: int) -> list[float]:
    """Return the returns of fresh episodes of a policy that learned for so many environment steps."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    settings = dict(SETTINGS.get(name, OTHERS))
    count, normalize = settings.pop("envs"), settings.pop("normalize")
    worlds: Any = make_vec_env(name, n_envs=count, seed=seed)
    worlds = VecNormalize(worlds, gamma=settings.get("gamma", 0.99)) if normalize else worlds
    model = PPO("MlpPolicy", worlds, seed=seed, device="cpu", **settings)
    model.learn(steps)
    return evaluate(model, name, worlds.normalize_obs if normalize else lambda seen: seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Acrobot-v1")
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--steps", type=int, default=100_000, help="environment steps, rounded up to whole rollouts")
    options = parser.parse_args()
    from statistics import mean, pstdev

    import torch

    torch.set_num_threads(1)
    for seed in options.seeds:
        began = time.process_time()
        returns = train(options.env, seed, options.steps)
        spent = time.process_time() - began
        spread = f"(standard deviation {pstdev(returns):.1f}) of {EPISODES} episodes after {options.steps:,} steps"
        print(f"{options.env} seed {seed}: mean return {mean(returns):.1f} {spread}, {spent:.0f} s", flush=True)


if __name__ == "__main__":
    main()
