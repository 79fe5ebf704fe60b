"""What evolution may change in an agent: names, bounds and units, and the way back to `LearningParameters`.

space = Space(**rule_space(Learning()))
learning_parameters(space.decode(z), hope=1.0)             # numpy or traced
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from l2l_snn.snn.homeostasis import SynapticScaling
from l2l_snn.space import Real
from optimizees.agent.body import Body
from optimizees.agent.critic import Critic
from optimizees.agent.learning import Learning, LearningParameters

WIDE = {  # in place of those of the same name in `rule_space`: evolved values lay at the bounds of these
    "eta": Real(0.001, 5.0, log=True),
    "a_minus": Real(-1.0, 1.0),
    "reward": Real(0.0, 16.0),
    "punish": Real(0.1, 16.0),
}
W_MAX = 6.0  # mV, the largest weight that can be inherited, and the largest bound of what can be learned


def weight_space(body: Body, actions: int) -> dict[str, Real]:
    """Return the weights (n_pre, n_post) of each projection from the sensors on, mV."""
    return {name: Real(0.0, W_MAX, shape=shape) for name, shape in body.learned(actions).items()}


def rule_space(learning: Learning, *, inherited: bool = False) -> dict[str, Real]:
    """Return the parameters of learning.

    Args:
        learning: its rule `dopamine` adds tau_n, its critic `td` horizon, value_rate and value_trace, its homeostasis
            `scaling` target and scaling.
        inherited: whether the first weights are inherited too; else w_start says how large the random ones are.
    """
    space = {
        "eta": Real(0.01, 5.0, log=True),  # mV for a signal of 1 and an eligibility of 1
        "a_plus": Real(0.3, 1.0),  # eligibility from a pair, pre before post
        "a_minus": Real(-0.3, 1.0),  # eligibility from post before pre, subtracted
        "tau_plus": Real(3.0, 100.0, log=True),  # ms, trace of pre spikes
        "tau_minus": Real(3.0, 100.0, log=True),  # ms, trace of post spikes
        "tau_e": Real(2.0, 500.0, log=True),  # ms, eligibility
        "w_max": Real(1.5, W_MAX),  # mV
        "reward": Real(0.0, 4.0),  # gain of a signal that is better than expected
        "punish": Real(0.1, 4.0),  # gain of one that is worse
        "noise": Real(20.0, 400.0),  # pA, current that makes an agent explore
    }
    if learning.bounds == "wide":
        space |= WIDE
    if not inherited:
        space["w_start"] = Real(0.7, 2.5)  # mV, mean of the first weights: uniform between half of it and 1.5 of it
    if learning.rule == "dopamine":
        space["tau_n"] = Real(5.0, 200.0, log=True)  # ms, dopamine
    if learning.critic == "td":
        space["horizon"] = Real(5.0, 300.0, log=True)  # control steps over which rewards to come count
        space["value_rate"] = Real(0.01, 1.0, log=True)
        space["value_trace"] = Real(0.0, 0.95)
    if learning.homeostasis == "scaling":
        space["target"] = Real(1.0, 100.0, log=True)  # Hz
        space["scaling"] = Real(1e-5, 0.1, log=True)  # 1 / (s Hz)
    return space


def learning_parameters(params: Mapping[str, Any], hope: float) -> LearningParameters:
    """Return the parameters of learning that `params` names; those that it doesn't name keep their defaults.

    The critic's `hope` is no part of the space: it follows from what a task pays.
    """
    critic = Critic(**{name: params[name] for name in Critic._fields if name in params}, hope=hope)
    scaling = SynapticScaling(w_min=0.0)
    if "target" in params:
        scaling = replace(scaling, target=params["target"], beta=params["scaling"])
    names = set(LearningParameters._fields) & set(params) - {"critic", "scaling"}
    return LearningParameters(**{name: params[name] for name in names}, critic=critic, scaling=scaling)
