"""All nets that the layer tests go through."""

from case import PROBE, Case
from convolution_cases import CONVOLUTION
from graph_cases import COMBINE, LOSS
from language_cases import FEATURES
from own_cases import OWN
from pointwise_cases import ACTIVATION, ATTENTION, NORMALISATION
from pooling_cases import POOLING

CASES: list[Case] = [
    *CONVOLUTION,
    *POOLING,
    *ACTIVATION,
    *NORMALISATION,
    *ATTENTION,
    *COMBINE,
    *OWN,
    *FEATURES,
    *LOSS,
]

__all__ = ["CASES", "PROBE", "Case"]
