"""A Hodgkin-Huxley soma in NEURON: which conductances give ten spikes of 90 mV under a current of 100 ms?

python neuron_spike.py --gna 0.12 --gk 0.036 --current 0.1
"""

import argparse

import numpy as np
from neuron import h

parser = argparse.ArgumentParser()
for name in ("gna", "gk", "current"):
    parser.add_argument(f"--{name}", type=float)
params = parser.parse_args()

h.load_file("stdrun.hoc")
soma = h.Section(name="soma")
soma.L = soma.diam = 20  # um
soma.insert("hh")
soma(0.5).hh.gnabar, soma(0.5).hh.gkbar = params.gna, params.gk  # S/cm2
clamp = h.IClamp(soma(0.5))
clamp.delay, clamp.dur, clamp.amp = 20, 100, params.current  # ms, ms, nA
voltage = h.Vector().record(soma(0.5)._ref_v)  # noqa: SLF001, NEURON's name of it
h.finitialize(-65)
h.continuerun(130)

v = np.array(voltage)  # mV
spikes = int(((v[1:] >= 0) & (v[:-1] < 0)).sum())
height = float(v.max() - v[0])
print(f"spikes={spikes} height={height:.3f} fitness={-abs(spikes - 10) - abs(height - 90) / 90:.6f}")
