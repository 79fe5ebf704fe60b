"""How an agent learns: what a job sets, the parameters that evolution may change, and the rules that follow."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from l2l_snn.snn.homeostasis import SynapticScaling
from l2l_snn.snn.plasticity import RSTDP, DopamineSTDP
from l2l_snn.validate import Finite, check_fields, message
from optimizees.agent.critic import Critic

RULES = {"r_stdp": RSTDP, "dopamine": DopamineSTDP}


@dataclass(frozen=True)
class Learning:
    """What learns, and from what; known before the program runs."""

    plasticity: Literal["on", "frozen"] = "on"  # frozen: a control
    plastic: tuple[str, ...] = ("sensor_motor",)  # projections that learn
    rule: Literal["r_stdp", "dopamine"] = "r_stdp"  # a signal acts at once, or as dopamine that decays with tau_n
    homeostasis: Literal["off", "scaling"] = "off"  # scaling: synaptic scaling of plastic weights to a target rate
    reward: Literal["real", "shuffled"] = "real"  # shuffled: every signal arrives at a random later time; a control
    critic: Literal["td", "improvement"] = "td"  # see critic.py
    hope: Finite = 1.0  # what the critic `td` expects before it has learned anything, in rewards of a step
    bounds: Literal["narrow", "wide"] = "narrow"  # wide: further apart where evolved values came to lie at them

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.plastic:
            raise ValueError(message("plastic", "at least one projection", "none", "take plasticity: frozen"))

    @property
    def changing(self) -> tuple[str, ...]:
        """Projections whose weights change; none where plasticity is frozen."""
        return self.plastic if self.plasticity == "on" else ()

    @property
    def scaled(self) -> tuple[str, ...]:
        """Projections whose weights synaptic scaling changes."""
        return self.changing if self.homeostasis == "scaling" else ()


class LearningParameters(NamedTuple):
    """What evolution may change; the values may be traced."""

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


def plasticity_rules(learning: Learning, parameters: LearningParameters) -> dict[str, Any]:
    """Return the rule of each projection whose weights change."""
    shared = {name: getattr(parameters, name) for name in ("a_plus", "a_minus", "tau_plus", "tau_minus", "w_max")}
    if learning.rule == "dopamine":
        shared |= {"tau_c": parameters.tau_e, "tau_n": parameters.tau_n}
    else:
        shared |= {"tau_e": parameters.tau_e, "eta": parameters.eta}
    return {name: RULES[learning.rule](**shared) for name in learning.changing}
