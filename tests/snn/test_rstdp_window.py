"""Reward-modulated STDP of a window at once: against the rule that takes every simulation step."""

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn import rstdp_window
from l2l_snn.snn.plasticity import RSTDP


def test_a_window_collects_what_r_stdp_collects_in_each_simulation_step():
    rule = RSTDP(eta=0.3, a_minus=0.7, tau_plus=8.0, tau_minus=15.0, tau_e=30.0, w_max=2.0)
    generator = np.random.default_rng(7)
    pre, post = (jnp.asarray(generator.random((60, n)) < 0.2, float) for n in (5, 4))
    with jax.enable_x64(True):
        pre, post, w = pre.astype(float), post.astype(float), jnp.full((5, 4), 1.0)
        state, signals = rstdp_window.rest((5, 4), 2), (0.4, -1.0, 0.3)
        reference, expected = rule.init(5, 4), w
        for t, signal in enumerate(signals):
            state = rstdp_window.collect(rule, state, pre[20 * t : 20 * t + 20], post[20 * t : 20 * t + 20], 0.5)
            w = rstdp_window.hear(rule, state, w, signal)
            for k in range(20 * t, 20 * t + 20):
                seen = post[k - 2] if k >= 2 else jnp.zeros(4)
                reward = signal if k % 20 == 19 else 0.0
                reference, expected = rule.step(reference, expected, pre[k], seen, reward, 0.5)
        np.testing.assert_allclose(state.e, reference.e, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(w, expected, rtol=1e-11)
    assert np.ptp(expected) > 0.5
