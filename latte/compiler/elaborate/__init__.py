"""elaborate: definitions and arguments -> Net, every size a number.

net.py        chooses the net and carries out its body
block.py      statements, in order: ensembles, layer calls, loops
              (declare.py: parameters and inputs; formals.py; outcomes.py: losses, updates)
calls.py      what a call makes (arguments.py: what it is given and called)
evaluate.py   expressions -> values (arithmetic.py: numbers, packs, indices; values.py)
connect.py    what stands between the brackets -> affine Connections
neuron.py     a neuron type meets its connections (body.py, places.py, statements.py, loops.py:
              its text)
views.py      join, reshape, transpose, prev, next, last, steps
solver.py     solvers, schedules and the train block
cycles.py     checks of the whole
"""

from latte.compiler.elaborate.net import chosen, elaborate

__all__ = ["chosen", "elaborate"]
