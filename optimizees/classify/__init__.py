"""Classification through time: pictures, events and speech by spiking networks, and by gated ones beside them."""

from optimizees.classify.classifier import Classifier, Examples
from optimizees.classify.frame_lsnn import FrameLSNN
from optimizees.classify.gated import Gated
from optimizees.classify.linear import LinearFrames
from optimizees.classify.sequential_lsnn import SequentialLSNN
from optimizees.classify.stbp import STBP

__all__ = ["STBP", "Classifier", "Examples", "FrameLSNN", "Gated", "LinearFrames", "SequentialLSNN"]
