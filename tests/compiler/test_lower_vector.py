"""The builder of vector code: what is recorded once, what leaves loops, what costs nothing."""

from latte.compiler.builder import Builder
from latte.compiler.vector import show


def test_code_leaves_loops_and_constants_become_offsets() -> None:
    b = Builder("double")
    source, target = b.pointer("b0", readonly=True), b.pointer("b1")
    with b.loop(b.first, b.last) as row, b.loop(0, 4) as y:
        for k in range(2):
            x = b.load(source, row * 64 + y * 16 + k * 16, lanes=16, alignment=64)
            b.store(x * b.scalar(4), target, (row * 4 + y + k) * 16)
    assert show(b.function()) == DOUBLE


DOUBLE = """\
double [pointers: readonly b0, b1]
  v7 = load scalars[8] : f32 align 4
  v8 = splat v7 : f32x16
  for v1 = first .. last step 1
    v3 = mul v1, 64 : i64
    v10 = mul v1, 4 : i64
    do v2 = 0 .. 4 step 1
      v4 = mul v2, 16 : i64
      v5 = add v3, v4 : i64
      v6 = load b0[v5 + 0] : f32x16 align 64
      v9 = mul v6, v8 : f32x16
      v11 = add v10, v2 : i64
      v12 = mul v11, 16 : i64
      store v9 -> b1[v12 + 0] align 4
      v13 = load b0[v5 + 16] : f32x16 align 64
      v14 = mul v13, v8 : f32x16
      store v14 -> b1[v12 + 16] align 4"""


def test_loops_of_one_or_no_trip_are_no_loops() -> None:
    b = Builder("few")
    target = b.pointer("b0")
    with b.loop(3, 4) as place:
        assert place == 3
        b.store(1.0, target, place)
    with b.loop(3, 3):
        b.store(2.0, target, 0)
    assert show(b.function()).splitlines()[1:] == ["  store 1.0 -> b0[3] align 4"]


def test_maximum_keeps_nan_with_one_select_where_it_can() -> None:
    b = Builder("relu")
    x = b.load(b.pointer("b0"), 0, lanes=4)
    y = b.load(b.pointer("b1"), 0, lanes=4)
    for result in (b.maximum(x, 0.0), b.maximum(0.0, x), b.maximum(x, y)):
        b.store(result, b.scalars, 0)
    text = show(b.function())
    assert text.count("select") == 4


def test_conditions_and_variables_show() -> None:
    b = Builder("either")
    target, total = b.pointer("b0"), b.variable(b.scalar(4).type, 0.0)
    with b.when(b.place(0) > 2):
        total.set(total.value + 1.0)
    with b.otherwise():
        total.set(2.0)
    b.store(total.value, target, 0)
    lines = [line.strip() for line in show(b.function()).splitlines()]
    assert "else" in lines and "a2 := 2.0" in lines and "var a2 : f32" in lines
