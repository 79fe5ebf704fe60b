"""The check at run time of what annotations say, shapes (`Float[Array, "n_pre n_post"]`) included, as diffrax does."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float
CHECKED = [
    "l2l_snn.snn.cells",
    "l2l_snn.snn.differentiable",
    "l2l_snn.snn.eprop_traces",
    "l2l_snn.snn.fptt",
    "l2l_snn.snn.plasticity",
    "l2l_snn.snn.rollout",
    "l2l_snn.snn.transmission",
]
