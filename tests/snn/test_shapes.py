"""Tests run with the annotated shapes checked (tests/helpers/shapes.py), and the program without."""

import subprocess
import sys

import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

from l2l_snn.snn.cells import LIF
from l2l_snn.snn.differentiable import DPOja

CODE = """
import jax.numpy as jnp
from l2l_snn.snn.cells import LIF
LIF().step(LIF().init(3), jnp.zeros(3, int), 1.0)
print("unchecked")
"""


def test_an_array_of_another_dtype_or_shape_than_annotated_is_caught_in_tests():
    with pytest.raises(TypeCheckError):
        LIF().step(LIF().init(3), jnp.zeros(3, int), 1.0)
    with pytest.raises(TypeCheckError):
        DPOja().effective(jnp.zeros(3), DPOja().init(3, 2))


def test_the_program_itself_checks_nothing_in_a_step():
    assert (
        "unchecked" in subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    )
