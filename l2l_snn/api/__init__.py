"""Runs in a script or a notebook: `l2l_snn.run` starts one, `l2l_snn.load` finds one, both give a `Run`."""
