"""What an access costs when an axis is the lane: the guide for choosing lanes.

In: a flat position and an axis.  Out: about how many instructions one vector takes.
"""

from __future__ import annotations

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.lower_access import lane_break, lane_stride, reduce_floors

GATHER = 2  # instructions that each lane of a gather takes
STRIDES = 4  # lanes up to this far apart are loaded with all between them
LEAST_LANES = 4  # places of a fold that make lanes along it worthwhile
UNROLLED = 16  # places of a fold, times blocks of lanes, that are written out
FAR = 1 << 40  # more than any index


def vector_steps(position: Affine, name: str, width: int, outer: frozenset[str]) -> int:
    """One for contiguous lanes and for one value in all, two where lanes cross a stored block,
    `stride + 1` for lanes not far apart, else some for each lane. Variables that are neither the
    lane nor `outer` belong to small inner loops, and are taken as 0."""
    if all(isinstance(atom, str) for atom, _ in position.terms):
        return _strided(position.coefficient(name), width)
    inner = dict.fromkeys(position.axes() - outer - {name}, constant(0))
    view = {name: axis("block") * width + axis("lane"), **inner}
    ranges = dict.fromkeys(outer | {"block"}, (0, FAR)) | {"lane": (0, width - 1)}
    reduced = reduce_floors(position.substitute(view), ranges)
    stride = lane_stride(reduced, "lane")
    if stride is not None:
        return _strided(stride, width)
    return 2 if lane_break(reduced, "lane", width) else GATHER * width


def _strided(stride: int, width: int) -> int:
    if stride in (0, 1):
        return 1
    return stride + 1 if 2 <= stride <= STRIDES else GATHER * width
