"""What kind of life an agent leads, and the parameters of its learning."""

from typing import Any, NamedTuple

from l2l_snn.snn.homeostasis import SynapticScaling
from optimizees.agent.body import RULES
from optimizees.agent.critic import Critic


class Plan(NamedTuple):
    """What kind of life; hashable, known before the program runs."""

    episodes: int  # N
    budget: int  # control steps in all, pauses included; what isn't lived by then isn't
    plastic: tuple[str, ...] = ()  # projections that learn; none: a life without learning
    rule: str = "r_stdp"  # of RULES
    critic: str = "td"  # of agent_critic.CRITICS
    shuffled: bool = False  # every signal arrives, but at a random time
    scaling: bool = False  # synaptic scaling of the plastic projections
    pause: int = 1  # control steps between episodes
    record: bool = False  # also what happened in every control step (memory: T = budget)


class Learning(NamedTuple):
    """Parameters of learning; they may be traced: evolved."""

    eta: Any = 0.5  # mV for a signal of 1 and an eligibility of 1
    a_plus: Any = 1.0  # eligibility from pre before post
    a_minus: Any = 0.5  # eligibility from post before pre, subtracted
    tau_plus: Any = 10.0  # ms, trace of pre spikes
    tau_minus: Any = 10.0  # ms, trace of post spikes
    tau_e: Any = 100.0  # ms, eligibility
    tau_n: Any = 20.0  # ms, dopamine; of the rule `dopamine`
    w_max: Any = 4.0  # mV; the least weight is 0
    critic: Critic = Critic()
    scaling: SynapticScaling = SynapticScaling()


def rules(plan: Plan, learning: Learning) -> dict[str, Any]:
    """Return the rule of each plastic projection."""
    shared = {name: getattr(learning, name) for name in ("a_plus", "a_minus", "tau_plus", "tau_minus", "w_max")}
    if plan.rule == "dopamine":
        shared |= {"tau_c": learning.tau_e, "tau_n": learning.tau_n}
    else:
        shared |= {"tau_e": learning.tau_e, "eta": learning.eta}
    return {name: RULES[plan.rule](**shared) for name in plan.plastic}
