"""Elementary functions of float32 vectors, as vector code of any width: no library call.

In: the name of a function and a number of lanes.  Out: pure statements over the arguments `x`
(and `y`), which `llvm.py` prints in place of the call.

    exp x : f32x16  ->  n = round(x / log 2);  p(x - n log 2) * 2**n     (15 operations)

Errors are at most 2 units in the last place with hardware fma (measured in tests/backends; sin and
cos for |x| <= 1e5), denormal numbers, infinities and NaN included. Polynomials: Cephes (S. Moshier)
for exp, log, tanh, sin, cos; erf and the extended logarithm of pow after N. Juffa.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

from latte.compiler.values import Number, Recorder, Term
from latte.compiler.vector import F32, Statement, Type, Value

LOG2_HIGH, LOG2_LOW = 0.693359375, -2.12194440e-4  # the first has 9 bits: n * high is exact
SHIFT = 12582912.0  # 1.5 * 2**23: added and taken away, it rounds to an integer
SHIFT_BITS = 0x4B400000
HALF_PI = (1.57079637e0, -4.37113883e-8, -1.71512489e-15)  # three parts of pi / 2
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
    recorder = Recorder()
    type_ = F32 if lanes == 1 else Type("f32", lanes)
    names = ("x", "y")[: 2 if function == "pow" else 1]
    result = MATH[function](recorder, *(Term(recorder, Value(name, type_)) for name in names))
    assert isinstance(result.operand, Value)
    return recorder.statements(), result.operand


def exp(r: Recorder, x: Term) -> Term:
    """Cephes expf; the scale 2**n is applied in two halves, so that denormal results round once."""
    x = _clamp(r, x, -104.0, 89.0)
    shifted = r.fma(x, 1.4426950408889634, SHIFT)
    n = shifted - SHIFT
    power = _bits(r, shifted) - SHIFT_BITS
    rest = r.fma(n, -LOG2_LOW, r.fma(n, -LOG2_HIGH, x))
    value = r.fma(_polynomial(r, EXP, rest), rest * rest, rest) + 1.0
    half = r.binary("ashr", power, 1)
    return value * _power_of_two(r, half) * _power_of_two(r, power - half)


def log(r: Recorder, x: Term) -> Term:
    """Cephes logf: x = 2**n * (1 + f) with 1 + f in [sqrt(1/2), sqrt(2))."""
    mantissa, n = _split(r, x)
    f = mantissa - 1.0
    square = f * f
    tail = _polynomial(r, LOG, f) * f * square
    tail = r.fma(n, LOG2_LOW, tail)
    value = r.fma(n, LOG2_HIGH, r.fma(square, -0.5, tail) + f)
    value = r.select(x < INFINITY, value, x)  # also NaN
    value = r.select(x > 0.0, value, r.select(x < 0.0, NAN, value))
    return r.select(x.eq(0.0), -INFINITY, value)


def tanh(r: Recorder, x: Term) -> Term:
    """An odd polynomial below 0.625, else 1 - 2 / (exp(2 |x|) + 1) with the sign of x."""
    square = x * x
    small = r.fma(_polynomial(r, TANH, square) * square, x, x)
    magnitude = r.call("abs", x)
    large = 1.0 - 2.0 / (exp(r, magnitude + magnitude) + 1.0)
    return r.select(magnitude < 0.625, small, _with_sign(r, large, x))


def sigmoid(r: Recorder, x: Term) -> Term:
    """1 / (1 + e) where x >= 0, e / (1 + e) elsewhere, e = exp(-|x|): no overflow."""
    e = exp(r, -r.call("abs", x))
    return r.select(x < 0.0, e, r.term(1.0, x.type)) / (1.0 + e)


def erf(r: Recorder, x: Term) -> Term:
    """N. Juffa's: x * p(x**2) near 0, else 1 - exp(q(|x|))."""
    t, s = r.call("abs", x), x * x
    u = r.fma(t, -3.88396438e-3, 2.42546219e-2)
    q = r.fma(r.fma(t, -1.72853470e-5, 3.83197126e-4), s, u)
    for coefficient in (-1.06777877e-1, -6.34846687e-1, -1.28717512e-1):
        q = r.fma(q, t, coefficient)
    large = 1.0 - exp(r, r.fma(q, t, -t))
    small = r.fma(_polynomial(r, ERF_SMALL, s), x, x)
    return r.select(t > 0.927734375, _with_sign(r, large, x), small)


def sin(r: Recorder, x: Term) -> Term:
    """By the quadrant of x: sine or cosine of the rest, with a sign."""
    return _circular(r, x, 0)


def cos(r: Recorder, x: Term) -> Term:
    """sin one quadrant later."""
    return _circular(r, x, 1)


def _circular(r: Recorder, x: Term, quadrants: int) -> Term:
    shifted = r.fma(x, 2 / math.pi, SHIFT)
    n = shifted - SHIFT
    quadrant = _bits(r, shifted) - SHIFT_BITS + quadrants
    for part in HALF_PI:
        x = r.fma(n, -part, x)
    square = x * x
    sine = r.fma(_polynomial(r, SIN, square) * square, x, x)
    cosine = r.fma(_polynomial(r, COS, square), square * square, r.fma(square, -0.5, 1.0))
    value = r.select((quadrant & 1).ne(0), cosine, sine)
    return _floats(r, _bits(r, value) ^ ((quadrant & 2) << 30))


def power(r: Recorder, x: Term, y: Term) -> Term:
    """exp(y log |x|) in extended precision, with C's special cases."""
    a = r.call("abs", x)
    high, low = _extended_log(r, a)
    product = _clamp(r, high * y, -1e34, 1e34)
    rest = r.fma(low, y, r.fma(high, y, -product))
    value = exp(r, product)
    refined = r.fma(value, rest, value)
    ordinary = (value > 0.0) & (value < INFINITY) & (r.call("abs", y) < INFINITY)
    value = r.select(ordinary, refined, value)
    value = r.select(a.eq(0.0), r.select(y > 0.0, 0.0, r.term(INFINITY, x.type)), value)
    value = r.select(a.eq(INFINITY), r.select(y > 0.0, INFINITY, r.term(0.0, x.type)), value)
    value = r.select(a.eq(1.0), 1.0, value)
    value = _signed_power(r, x, y, value)
    value = r.select(x.ne(x) | y.ne(y), NAN, value)
    return r.select(y.eq(0.0) | x.eq(1.0), 1.0, value)


def _signed_power(r: Recorder, x: Term, y: Term, value: Term) -> Term:
    """A negative base: the sign where y is odd, NaN where y is no integer."""
    whole = r.call("floor", y).eq(y)
    half = y * 0.5
    odd = whole & r.call("floor", half).ne(half)
    value = r.select(odd, _with_sign(r, value, x), value)
    return r.select((x < 0.0) & whole.eq(0) & (x > -INFINITY), NAN, value)


def _extended_log(r: Recorder, a: Term) -> tuple[Term, Term]:
    """log a as a sum of two floats: 2 artanh(q) + n log 2, q = (m - 1) / (m + 1), by N. Juffa."""
    mantissa, n = _split(r, a)
    m = mantissa - 1.0
    inverse = 1.0 / (mantissa + 1.0)
    high = m * inverse
    low = inverse * r.fma(high, -m, r.fma(high, -2.0, m))
    s = high * high
    p = _polynomial(r, ATANH, s)
    t = r.fma(high, low + low, r.fma(high, high, -s))  # s + t = q**2
    cube = s * high
    t = r.fma(s, low, r.fma(t, high, r.fma(s, high, -cube)))  # cube + t = q**3
    tail = r.fma(p, cube, r.fma(p, t, low))
    twice = high + high
    t = r.fma(n, 6.93147182e-1, twice)
    lost = r.fma(n, -6.93147182e-1, t)
    tail = r.fma(n, -1.90465421e-9, r.fma(tail, 2.0, twice - lost))
    result = t + tail
    return result, t - result + tail


def _split(r: Recorder, x: Term) -> tuple[Term, Term]:
    """x = mantissa * 2**n, the mantissa in [sqrt(1/2), sqrt(2)); denormal x too."""
    tiny = x < 1.17549435e-38
    bits = _bits(r, r.select(tiny, x * 8388608.0, x))
    exponent = r.binary("ashr", bits - 0x3F3504F3, 23)
    mantissa = _floats(r, bits - (exponent << 23))
    return mantissa, r.convert(exponent, "f32") - r.select(tiny, 23.0, r.term(0.0, x.type))


def _polynomial(r: Recorder, coefficients: Sequence[float], x: Term) -> Term:
    """By Horner's rule, the highest power first."""
    value: Number = coefficients[0]
    for coefficient in coefficients[1:]:
        value = r.fma(value, x, coefficient)
    assert isinstance(value, Term)
    return value


def _clamp(r: Recorder, x: Term, low: float, high: float) -> Term:
    """NaN stays NaN."""
    x = r.select(x < low, low, x)
    return r.select(x > high, high, x)


def _power_of_two(r: Recorder, exponent: Term) -> Term:
    return _floats(r, (exponent + 127) << 23)


def _with_sign(r: Recorder, magnitude: Term, sign: Term) -> Term:
    return _floats(r, (_bits(r, magnitude) & MAGNITUDE) | (_bits(r, sign) & SIGN))


def _bits(r: Recorder, x: Term) -> Term:
    return r.reinterpret(x, "i32")


def _floats(r: Recorder, x: Term) -> Term:
    return r.reinterpret(x, "f32")


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
