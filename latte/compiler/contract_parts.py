"""What makes a kernel a contraction, before any thought of storage.

In: any Kernel of a Program.  Out: its one sum of a product of loads, what is made of the sum, and
where that goes; None where the kernel is no contraction.

    conv.out[n, f, y, x] = max(bias[f] + sum [c, ky, kx] weight[...] * image[...], 0)
    ->  fold sum [c, ky, kx], factors weight and image, result max(bias[f] + SUM, 0)
"""

from __future__ import annotations

from dataclasses import dataclass

from latte.compiler.affine import Affine
from latte.compiler.expression import Apply, Expression, Fold, Load, Local
from latte.compiler.ir import Kernel, Write, expressions
from latte.compiler.once import once
from latte.compiler.rewrite import rewrite, substitute_locals, walk

SUM = Local("sum")  # stands for the fold in `Contraction.result`
RESULT = Local("result")  # stands for the result in `Output.value`


@dataclass(frozen=True, slots=True)
class Store:
    """One write of a contraction; `value` is an expression of `RESULT`."""

    write: Write
    target: tuple[Affine, ...]
    value: Expression


@dataclass(frozen=True, slots=True)
class Parts:
    """What makes a kernel a contraction, before any thought of storage: `SUM` in `result` is the
    fold, `RESULT` in the values of `stores` is the result."""

    stores: tuple[Store, ...]
    fold: Fold
    factors: tuple[Load, ...]
    result: Expression

    @property
    def write(self) -> Write:
        """The first write."""
        return self.stores[0].write

    @property
    def target(self) -> tuple[Affine, ...]:
        """The first write's index."""
        return self.stores[0].target

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """All that is computed behind the sum."""
        return (self.result, *(store.value for store in self.stores))


@once
def find_parts(kernel: Kernel) -> Parts | None:
    """The one sum of a product of loads, what is made of it, and where that goes."""
    if not any(isinstance(node, Fold) for e in expressions(kernel) for node in walk(e)):
        return None  # before lets are written out in one another, which can take long
    targets = [affine_index(write.index) for write in kernel.writes]
    found = _result(kernel)
    if found is None or not targets:
        return None
    whole, values = found
    folds = {node for node in walk(whole) if isinstance(node, Fold)}
    rest = any(isinstance(node, Fold) for value in values for node in walk(value))
    if len(folds) != 1 or rest:
        return None
    (fold,) = folds
    factors = product(fold.body) if fold.operator == "sum" else None
    if factors is None or any(guard.modulus for guard in (*fold.where, *kernel.where)):
        return None
    stores = tuple(
        Store(write, target, value)
        for write, target, value in zip(kernel.writes, targets, values, strict=True)
        if target is not None
    )
    if len(stores) < len(targets) or (len(stores) > 1 and any(s.write.add for s in stores)):
        return None
    return Parts(stores, fold, factors, rewrite(whole, lambda n: SUM if n == fold else None))


def _result(kernel: Kernel) -> tuple[Expression, tuple[Expression, ...]] | None:
    """The first thing made of a fold (a let, or the only write's expression), and the values of
    all writes as expressions of it."""
    values: dict[str, Expression] = {}
    whole: Expression | None = None
    for let in kernel.lets:
        expression = substitute_locals(let.expression, values)
        if whole is None and any(isinstance(node, Fold) for node in walk(expression)):
            whole, expression = expression, RESULT
        values[let.name] = expression
    written = tuple(substitute_locals(write.expression, values) for write in kernel.writes)
    if whole is not None:
        return whole, written
    return (written[0], (RESULT,)) if len(written) == 1 else None


def product(body: Expression) -> tuple[Load, ...] | None:
    """The loads that are multiplied, if there are at least two and nothing else."""
    match body:
        case Apply("mul", (left, right)):
            sides = [(s,) if isinstance(s, Load) else product(s) for s in (left, right)]
            if sides[0] is None or sides[1] is None:
                return None
            loads = sides[0] + sides[1]
            return loads if all(affine_index(load.index) is not None for load in loads) else None
        case _:
            return None


def affine_index(index: tuple[Affine | Expression, ...]) -> tuple[Affine, ...] | None:
    """The index, if no entry of it depends on a value."""
    places = tuple(place for place in index if isinstance(place, Affine))
    return places if len(places) == len(index) else None
