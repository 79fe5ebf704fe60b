"""Plasticity rules of spike times: pair and triplet STDP, and STDP gated by a reward or by dopamine.

Every rule is a frozen dataclass of parameters (scalars, or arrays that broadcast to (n_pre, n_post)) with the same
methods, those of `Rule`:

    state = rule.init(n_pre, n_post)                        # refuses bad parameters that are not traced
    state, w = rule.step(state, w, pre, post, signal, dt)   # one time step
    rule.effective(w, state)                                # the weights that the network uses
    rule.every(dt)                                          # steps for which those stay the same; here 1

Legend: w (n_pre, n_post); pre (n_pre,) and post (n_post,) spikes of this step, 0 or 1; `signal` the third factor, a
scalar, (n_post,) or (n_pre, n_post); dt ms. A trace is (n_pre, 1) or (1, n_post), or (n_pre, n_post) where its time
constant is.

**The order of one step**, which is NEST's: traces decay; a post spike potentiates with the trace of earlier pre spikes;
a pre spike depresses with the trace of earlier post spikes; the spikes are added to the traces. So two
spikes in the same step don't pair, and if both sides spike the potentiation comes first. A spike delivers the
weight that its own step left behind.

**Delays.** NEST counts a delay d as dendritic: the synapse sees a pre spike when it is emitted and a post spike d
later. A rule sees what it is given: `pre` as emitted and `post` of d / dt steps ago make it equal to NEST's.
"""

from l2l_snn.snn.plasticity.rule import Rule, WeightRule
from l2l_snn.snn.plasticity.stdp import Events, PairSTDP, TripletState, TripletSTDP
from l2l_snn.snn.plasticity.three_factor import RSTDP, DopamineState, DopamineSTDP, EligibilityState

__all__ = [
    "RSTDP",
    "DopamineSTDP",
    "DopamineState",
    "EligibilityState",
    "Events",
    "PairSTDP",
    "Rule",
    "TripletSTDP",
    "TripletState",
    "WeightRule",
]
