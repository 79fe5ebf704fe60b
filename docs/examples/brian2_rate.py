"""A noisy leaky integrate-and-fire neuron in Brian2: how far are its rate and its irregularity from what is wanted?

python brian2_rate.py params.json
"""

import json
import sys
from pathlib import Path

import brian2
import numpy as np
from brian2 import Hz, NeuronGroup, SpikeMonitor, ms, mV, run, second

brian2.prefs.codegen.target = "numpy"
params = json.loads(Path(sys.argv[1]).read_text())
brian2.seed(params["seed"])

tau, drive, sigma = params["tau_m"] * ms, params["drive"] * mV, params["sigma"] * mV
equations = "dv/dt = (drive - v) / tau + sigma * sqrt(2 / tau) * xi : volt (unless refractory)"
group = NeuronGroup(20, equations, threshold="v > 15 * mV", reset="v = 0 * mV", refractory=2 * ms, method="euler")
spikes = SpikeMonitor(group)
run(1 * second)

rate = float(spikes.count[:].mean() / second / Hz)
intervals = [np.diff(train / ms) for train in spikes.spike_trains().values()]
intervals = np.concatenate([one for one in intervals if len(one)] or [np.array([0.0])])
cv = float(intervals.std() / intervals.mean()) if intervals.mean() else 0.0
print(json.dumps({"fitness": -abs(rate - 20) / 20 - abs(cv - 0.8), "rate": rate, "cv": cv}))
