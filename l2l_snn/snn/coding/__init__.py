"""Numbers to spikes and back: encoders of observations and rates, decoders of spike counts and rates.

Pure functions for jit, vmap and scan, in float32 and float64: results have the dtype of what is coded, and integers
become jax's default float. What is random takes a jax key. Values are checked where they are known: not under jit.

Legend: (...) any shape, for example (B,) episodes or (B, K) of K observed quantities; n neurons for each number;
A actions; N neurons of a population; T steps of dt ms.
"""

from l2l_snn.snn.coding.crossings import threshold_crossings
from l2l_snn.snn.coding.decoders import leaky_readout, most_spikes, sample_softmax, signed_population, softmax_rates
from l2l_snn.snn.coding.encoders import (
    bernoulli_spikes,
    bin_index,
    bins,
    even_spikes,
    latency,
    place_centers,
    place_code,
    poisson,
)

__all__ = [
    "bernoulli_spikes",
    "bin_index",
    "bins",
    "even_spikes",
    "latency",
    "leaky_readout",
    "most_spikes",
    "place_centers",
    "place_code",
    "poisson",
    "sample_softmax",
    "signed_population",
    "softmax_rates",
    "threshold_crossings",
]
