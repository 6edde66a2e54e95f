"""Elementary functions of float32 vectors, as vector code of any width: no library call.

In: the name of a function and a number of lanes.  Out: pure statements over the arguments `x`
(and `y`), which `llvm.py` prints in place of the call.

    exp x : f32x16  ->  n = round(x / log 2);  p(x - n log 2) * 2**n     (15 operations)

Errors are at most 2 units in the last place with hardware fma (measured in tests/backends; sin and
cos for |x| <= 1e5), denormal numbers, infinities and NaN included; without fma pow may be wrong by
some hundred, and sin and cos only hold for |x| <= 1e4, away from their zeros. Polynomials: Cephes
(S. Moshier) for exp, log, tanh, sin, cos; erf and the extended logarithm of pow after N. Juffa.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

from latte.compiler.values import Number, Operations, Term
from latte.compiler.vector import F32, Statement, Type, Value

LOG2_HIGH, LOG2_LOW = 0.693359375, -2.12194440e-4  # the first has 9 bits: n * high is exact
SHIFT = 12582912.0  # 1.5 * 2**23: added and taken away, it rounds to an integer
SHIFT_BITS = 0x4B400000
# pi / 2; multiples of the first two parts, up to 8191, are exact without fma too
HALF_PI = (1.5703125, 0.0004837512969970703, 7.549790126404332e-08, -1.7151245100058819e-15)
SIGN, MAGNITUDE = -0x80000000, 0x7FFFFFFF
INFINITY, NAN = math.inf, math.nan

EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
       5.0000001201e-1)  # fmt: skip
LOG = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
       -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)  # fmt: skip
TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1,
        -3.33332819422e-1)  # fmt: skip
SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
ERF_SMALL = (-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1,
             1.28379166e-1)  # fmt: skip
ATANH = (0.1293334961, 0.1419928074, 0.2000148296, 0.3333332539)


@cache
def body(function: str, lanes: int) -> tuple[tuple[Statement, ...], Value]:
    """The statements that compute `function` of the values `x` (and `y`), and their result."""
    operations = Operations()
    type_ = F32 if lanes == 1 else Type("f32", lanes)
    names = ("x", "y")[: 2 if function == "pow" else 1]
    result = MATH[function](operations, *(Term(operations, Value(name, type_)) for name in names))
    assert isinstance(result.operand, Value)
    return operations.statements(), result.operand


def exp(b: Operations, x: Term) -> Term:
    """Cephes expf; the scale 2**n is applied in two halves, so that denormal results round once."""
    value, power = _exp_parts(b, _clamp(b, x, -104.0, 89.0))
    half = b.binary("ashr", power, 1)
    return value * _power_of_two(b, half) * _power_of_two(b, power - half)


def _exp_parts(b: Operations, x: Term) -> tuple[Term, Term]:
    """exp x as a number between sqrt(1/2) and sqrt(2), and the power of two to multiply it by."""
    shifted = b.fma(x, 1.4426950408889634, SHIFT)
    n = shifted - SHIFT
    rest = b.fma(n, -LOG2_LOW, b.fma(n, -LOG2_HIGH, x))
    value = b.fma(_polynomial(b, EXP, rest), rest * rest, rest) + 1.0
    return value, _bits(b, shifted) - SHIFT_BITS


def log(b: Operations, x: Term) -> Term:
    """Cephes logf: x = 2**n * (1 + f) with 1 + f in [sqrt(1/2), sqrt(2))."""
    mantissa, n = _split(b, x)
    f = mantissa - 1.0
    square = f * f
    tail = _polynomial(b, LOG, f) * f * square
    tail = b.fma(n, LOG2_LOW, tail)
    value = b.fma(n, LOG2_HIGH, b.fma(square, -0.5, tail) + f)
    value = b.select(x < INFINITY, value, x)  # also NaN
    value = b.select(x > 0.0, value, b.select(x < 0.0, NAN, value))
    return b.select(x.eq(0.0), -INFINITY, value)


def tanh(b: Operations, x: Term) -> Term:
    """An odd polynomial below 0.625, else 1 - 2 / (exp(2 |x|) + 1) with the sign of x."""
    square = x * x
    small = b.fma(_polynomial(b, TANH, square) * square, x, x)
    magnitude = b.call("abs", x)
    double = magnitude + magnitude
    value, power = _exp_parts(b, b.select(double > 30.0, 30.0, double))
    large = 1.0 - 2.0 / b.fma(value, _power_of_two(b, power), 1.0)
    return b.select(magnitude < 0.625, small, _with_sign(b, large, x))


def sigmoid(b: Operations, x: Term) -> Term:
    """1 / (1 + e) where x >= 0, e / (1 + e) elsewhere, e = exp(-|x|): no overflow."""
    e = exp(b, -b.call("abs", x))
    return b.select(x < 0.0, e, b.term(1.0, x.type)) / (1.0 + e)


def erf(b: Operations, x: Term) -> Term:
    """N. Juffa's: x * p(x**2) near 0, else 1 - exp(q(|x|))."""
    t, s = b.call("abs", x), x * x
    u = b.fma(t, -3.88396438e-3, 2.42546219e-2)
    q = b.fma(b.fma(t, -1.72853470e-5, 3.83197126e-4), s, u)
    for coefficient in (-1.06777877e-1, -6.34846687e-1, -1.28717512e-1):
        q = b.fma(q, t, coefficient)
    large = 1.0 - exp(b, b.fma(q, t, -t))
    small = b.fma(_polynomial(b, ERF_SMALL, s), x, x)
    return b.select(t > 0.927734375, _with_sign(b, large, x), small)


def sin(b: Operations, x: Term) -> Term:
    """By the quadrant of x: sine or cosine of the rest, with a sign."""
    return _circular(b, x, 0)


def cos(b: Operations, x: Term) -> Term:
    """sin one quadrant later."""
    return _circular(b, x, 1)


def _circular(b: Operations, x: Term, quadrants: int) -> Term:
    shifted = b.fma(x, 2 / math.pi, SHIFT)
    n = shifted - SHIFT
    quadrant = _bits(b, shifted) - SHIFT_BITS + quadrants
    for part in HALF_PI:
        x = b.fma(n, -part, x)
    square = x * x
    sine = b.fma(_polynomial(b, SIN, square) * square, x, x)
    cosine = b.fma(_polynomial(b, COS, square), square * square, b.fma(square, -0.5, 1.0))
    value = b.select((quadrant & 1).ne(0), cosine, sine)
    return _floats(b, _bits(b, value) ^ ((quadrant & 2) << 30))


def power(b: Operations, x: Term, y: Term) -> Term:
    """exp(y log |x|) in extended precision, with C's special cases."""
    a = b.call("abs", x)
    high, low = _extended_log(b, a)
    product = _clamp(b, high * y, -1e34, 1e34)
    rest = b.fma(low, y, b.fma(high, y, -product))
    value = exp(b, product)
    refined = b.fma(value, rest, value)
    ordinary = (value > 0.0) & (value < INFINITY) & (b.call("abs", y) < INFINITY)
    value = b.select(ordinary, refined, value)
    value = b.select(a.eq(0.0), b.select(y > 0.0, 0.0, b.term(INFINITY, x.type)), value)
    value = b.select(a.eq(INFINITY), b.select(y > 0.0, INFINITY, b.term(0.0, x.type)), value)
    value = b.select(a.eq(1.0), 1.0, value)
    value = _signed_power(b, x, y, value)
    value = b.select(x.ne(x) | y.ne(y), NAN, value)
    return b.select(y.eq(0.0) | x.eq(1.0), 1.0, value)


def _signed_power(b: Operations, x: Term, y: Term, value: Term) -> Term:
    """A negative base: the sign where y is odd, NaN where y is no integer."""
    whole = b.call("floor", y).eq(y)
    half = y * 0.5
    odd = whole & b.call("floor", half).ne(half)
    value = b.select(odd, _with_sign(b, value, x), value)
    return b.select((x < 0.0) & whole.eq(0) & (x > -INFINITY), NAN, value)


def _extended_log(b: Operations, a: Term) -> tuple[Term, Term]:
    """log a as a sum of two floats: 2 artanh(q) + n log 2, q = (m - 1) / (m + 1), by N. Juffa."""
    mantissa, n = _split(b, a)
    m = mantissa - 1.0
    inverse = 1.0 / (mantissa + 1.0)
    high = m * inverse
    low = inverse * b.fma(high, -m, b.fma(high, -2.0, m))
    s = high * high
    p = _polynomial(b, ATANH, s)
    t = b.fma(high, low + low, b.fma(high, high, -s))  # s + t = q**2
    cube = s * high
    t = b.fma(s, low, b.fma(t, high, b.fma(s, high, -cube)))  # cube + t = q**3
    tail = b.fma(p, cube, b.fma(p, t, low))
    twice = high + high
    t = b.fma(n, 6.93147182e-1, twice)
    lost = b.fma(n, -6.93147182e-1, t)
    tail = b.fma(n, -1.90465421e-9, b.fma(tail, 2.0, twice - lost))
    result = t + tail
    return result, t - result + tail


def _split(b: Operations, x: Term) -> tuple[Term, Term]:
    """x = mantissa * 2**n, the mantissa in [sqrt(1/2), sqrt(2)); denormal x too."""
    tiny = x < 1.17549435e-38
    bits = _bits(b, b.select(tiny, x * 8388608.0, x))
    exponent = b.binary("ashr", bits - 0x3F3504F3, 23)
    mantissa = _floats(b, bits - (exponent << 23))
    return mantissa, b.convert(exponent, "f32") - b.select(tiny, 23.0, b.term(0.0, x.type))


def _polynomial(b: Operations, coefficients: Sequence[float], x: Term) -> Term:
    """By Horner's rule, the highest power first."""
    value: Number = coefficients[0]
    for coefficient in coefficients[1:]:
        value = b.fma(value, x, coefficient)
    assert isinstance(value, Term)
    return value


def _clamp(b: Operations, x: Term, low: float, high: float) -> Term:
    """NaN stays NaN."""
    x = b.select(x < low, low, x)
    return b.select(x > high, high, x)


def _power_of_two(b: Operations, exponent: Term) -> Term:
    return _floats(b, (exponent + 127) << 23)


def _with_sign(b: Operations, magnitude: Term, sign: Term) -> Term:
    return _floats(b, (_bits(b, magnitude) & MAGNITUDE) | (_bits(b, sign) & SIGN))


def _bits(b: Operations, x: Term) -> Term:
    return b.reinterpret(x, "i32")


def _floats(b: Operations, x: Term) -> Term:
    return b.reinterpret(x, "f32")


MATH: dict[str, Callable[..., Term]] = {
    "exp": exp,
    "log": log,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "erf": erf,
    "sin": sin,
    "cos": cos,
    "pow": power,
}
