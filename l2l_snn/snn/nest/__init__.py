"""Networks on the NEST simulator; kernel.py is the only file that imports nest.

NEST has one kernel a process. `feed_forward` builds a network in it once and keeps it; `driven_pairs` and
`stdp_weights` build small networks of their own for one call.
"""

from l2l_snn.snn.nest.feed_forward import FeedForward, FeedForwardSpec, feed_forward
from l2l_snn.snn.nest.one_call import driven_pairs, stdp_weights

__all__ = ["FeedForward", "FeedForwardSpec", "driven_pairs", "feed_forward", "stdp_weights"]
