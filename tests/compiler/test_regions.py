"""Conditions on places leave a sum; what is constant in a sum leaves it too."""

from latte.compiler.affine import axis
from latte.compiler.algebra import tidy
from latte.compiler.expression import Apply, Axis, Expression, Fold, Guard, Load, Number, Position
from latte.compiler.regions import separate
from latte.compiler.show import show

ITEMS, STEPS, UNITS = Axis("n", 4, "n"), Axis("t", 6, "t"), Axis("k", 3)


def select(condition: Expression, yes: Expression, no: Expression) -> Expression:
    return Apply("select", (condition, yes, no))


def times(*operands: Expression) -> Expression:
    return Apply("mul", operands)


def load(name: str, *places: str) -> Load:
    return Load(name, tuple(axis(place) for place in places))


def before() -> Expression:
    return Apply("ge", (Position(axis("t") - 1), Number(0.0)))


def earlier(*places: str) -> Load:
    return Load("h", (axis("n"), axis("t") - 1, *(axis(place) for place in places)))


def separated(fold: Fold) -> str:
    return show(separate(fold, "lengths", STEPS.size))


def test_nothing_at_the_first_step_is_a_guard() -> None:
    body = times(load("w", "k"), select(before(), earlier("k"), Number(0.0)))
    assert separated(Fold("sum", (UNITS,), body)) == (
        "sum [k: 3] where t - 1 >= 0: w[k] * h[n, t - 1, k]"
    )


def test_a_first_value_is_a_sum_of_its_own_without_time() -> None:
    body = times(select(before(), earlier(), load("first", "n")), load("g", "n", "t"))
    assert separated(Fold("sum", (ITEMS, STEPS), body)) == (
        "sum [n: n, t: t] where t - 1 >= 0: h[n, t - 1] * g[n, t] + (sum [n: n] first[n] * g[n, 0])"
    )


def test_the_next_step_is_guarded_even_under_its_condition() -> None:
    present = Apply("lt", (Position(axis("t") + 1), load("lengths", "n")))
    body = select(present, Load("h", (axis("n"), axis("t") + 1, axis("k"))), Number(0.0))
    assert separated(Fold("max", (UNITS,), body)) == (
        "if (t + 1) < lengths[n] then max [k: 3] where -t + 4 >= 0: h[n, t + 1, k] "
        "else max [k: 3] 0"
    )


def test_constant_factors_leave_a_sum() -> None:
    body = Apply("neg", (Apply("div", (times(load("a", "n"), load("x", "k")), load("b", "n"))),))
    assert show(tidy(Fold("sum", (UNITS,), body))) == "-(a[n] / b[n] * (sum [k: 3] x[k]))"


def test_a_factor_that_a_guard_protects_stays() -> None:
    where = (Guard(axis("t") - 1),)
    fold = Fold("sum", (UNITS,), times(earlier(), load("x", "k")), where)
    assert tidy(fold) == fold
