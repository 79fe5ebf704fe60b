"""CartPole by agents of spiking neurons that learn while they act, and evolution of how they learn.

After Hasegan et al. 2022 (Labady 2023, section 2.3), who train one network by evolution of its weights (EVOL: the mode
`weights`) or by reward-modulated STDP (STDP-RL: `stdp_rl`). Modes and fields are those of `optimizees/agent/`. A
return is the number of steps that the pole stayed up in an episode, 500 at most.

Not Hasegan's: they simulate Hodgkin-Huxley-like neurons on NEURON, in steps of 50 ms, with four separate observations.
Here neurons are NEST's iaf_psc_delta, position and velocity, and angle and angular velocity, are coded jointly, and a
TD error may take the place of their critic, which compares a state with the one before.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from optimizees.agent import Agent, Body, Life
from optimizees.agent.optimizee import Mode
from optimizees.cartpole.task import TASKS
from optimizees.cartpole.task import CartPole as Task

if TYPE_CHECKING:
    from optimizees.agent.figures import Episode


@dataclass(frozen=True)
class CartPole(Agent):
    """The agent and its life; what evolution finds is in `space`."""

    fitness_label: ClassVar[str] = "fitness: mean return (steps)"
    populations: ClassVar[tuple[str, ...]] = ("left", "right")

    mode: Mode = "stdp_rl"
    body: Body = Body(cells=(4, 4, 8, 6), joint=((0, 1), (2, 3)))  # for position and velocity, angle and its velocity
    life: Life = Life(episodes=100)
    task: Literal["standard", "mirrored", "rescaled"] = "standard"  # forces exchanged; another pole and force

    def make_task(self) -> Task:
        return TASKS[self.task]

    def draw_episode(self, episode: "Episode", folder: Path, *, video: bool) -> list[Path]:
        """Write position and angle with their limits; with `video` a film."""
        from optimizees.cartpole import figures

        files = [figures.episode(episode, folder / "episode.png")]
        return [*files, figures.animation(episode, folder / "episode.gif")] if video else files
