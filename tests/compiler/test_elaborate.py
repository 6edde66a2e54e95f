"""elaborate: what a specification becomes, as text."""

from __future__ import annotations

import textwrap

import pytest

from latte.compiler.elaborate import elaborate
from latte.compiler.net import Ensemble, Net
from latte.compiler.show import show_net
from latte.errors import LatteError
from latte.lang.resolve import load_text

IMAGE = "input image[3, 8, 8]"


def made(text: str, name: str | None = None, **arguments: object) -> Net:
    return elaborate(load_text(text), name, arguments)


def body(statements: str, definitions: str = "") -> Net:
    """The net with these statements over an image of [3, 8, 8]."""
    return made(f"{definitions}\nnet N {{\n{IMAGE}\n{statements}\n}}")


def shown(net: Net, name: str) -> str:
    """The text of one node."""
    lines = show_net(net).splitlines()
    starts = (f"    ensemble {name}[", f"    view {name}[", f"    join {name}[")
    start = next(k for k, line in enumerate(lines) if line.startswith(starts))
    inside = [lines[start]]
    for line in lines[start + 1 :]:
        if line.startswith("    ") and line[4] not in " )":
            break
        inside.append(line)
    return textwrap.dedent("\n".join(inside))


def same(net: Net, name: str, expected: str) -> None:
    assert shown(net, name) == textwrap.dedent(expected).strip()


def names(net: Net) -> list[str]:
    return [node.name for node in net.nodes]


def shape(net: Net, name: str) -> tuple[int, ...]:
    node = dict(net.names)[name]
    found = next(each for each in (*net.nodes, *net.inputs) if each.name == node)
    return tuple(axis.size for axis in found.axes)


def codes(text: str) -> list[str]:
    with pytest.raises(LatteError) as caught:
        made(text)
    return [found.code for found in caught.value.diagnostics]


def test_convolution_becomes_affine() -> None:
    net = body("c = Conv(image, 4, kernel = (3, 2), stride = 2, pad = 1, dilation = (1, 2))")
    same(
        net,
        "c.out",
        """
        ensemble c.out[f: 4, p.0: 4, p.1: 4] = Weighted(
            x[i.0: 3, i.1: 3, i.2: 2] = image[i.0, i.1 + 2*p.0 - 1, 2*i.2 + 2*p.1 - 1]
            weight[i.0: 3, i.1: 3, i.2: 2] = c.weight[f, i.0, i.1, i.2]
            bias = c.bias[f]
        )
            value = bias + (sum [i.0: 3, i.1: 3, i.2: 2] weight[i.0, i.1, i.2] * x[i.0, i.1, i.2])
        """,
    )
    weight, bias = net.parameters
    assert [axis.size for axis in weight.axes] == [4, 3, 3, 2]
    assert (bias.rate, bias.decay) == (2, 0)


def test_groups_index_by_floor_division() -> None:
    net = made("net N { input a[4, 5]\n c = GroupConv(a, 6, kernel = 3, groups = 2) }")
    assert "x[i.0: 2, i.1: 3] = a[2*((f) // 3) + i.0, i.1 + p.0]" in shown(net, "c.out")


def test_layer_of_one_two_and_three_dimensions() -> None:
    for size in ("9", "9, 8", "9, 8, 7"):
        net = made(f"net N {{ input a[2, {size}]\n c = Conv(a, 3, kernel = 3) }}")
        assert shape(net, "c") == (3, *(int(each) - 2 for each in size.split(", ")))


def test_names_of_calls() -> None:
    net = body("""
        hidden = ReLU(Linear(image, 5))
        linear2 = Linear(hidden, 4)
        Linear_out = Linear(Linear(hidden, 3, name = "first"), 2)
        other = Tanh(Linear(hidden, 2))
    """)
    assert names(net) == [
        "linear1.out", "hidden", "linear2.out", "first.out", "Linear_out.out", "linear3.out",
        "other",
    ]  # fmt: skip
    assert dict(net.names)["linear2"] == "linear2.out"
    assert net.output == "other"


def test_loops_give_the_turn_in_the_path() -> None:
    net = body(
        "x = image\nfor i in 0 .. 2 { x = Block(x) }\nscores = Linear(x, 2)",
        "layer Block(x[c, s...]) {\nconv1 = Conv(x, c, kernel = 3, pad = 1)\nout = ReLU(conv1)\n}",
    )
    weights = [each.name for each in net.parameters if each.name.endswith("weight")]
    assert weights == ["x.0.conv1.weight", "x.1.conv1.weight", "scores.weight"]


def test_compile_time_recursion() -> None:
    net = body(
        "a = Tower(image, 3)",
        """layer Tower(x[c, s...], depth) {
            if depth > 0 { out = Tower(Conv(x, depth, kernel = 1), depth - 1) } else { out = x }
        }""",
    )
    assert [each.name for each in net.parameters if "bias" in each.name] == [
        "a.conv1.bias",
        "a.out.conv1.bias",
        "a.out.out.conv1.bias",
    ]
    assert shape(net, "a") == (1, 8, 8)


def test_constants_and_arguments() -> None:
    text = "const width = 4\nnet N(classes = 3, deep = false) { input a[2]\n"
    text += "x = Linear(a, width)\nif deep { y = Linear(x, 9) } else { y = x }\n"
    text += "z = Linear(y, classes) }"
    assert shape(made(text), "z") == (3,)
    net = made(text, classes=7, width=6, deep=True)
    assert (shape(net, "x"), shape(net, "y"), shape(net, "z")) == ((6,), (9,), (7,))
    with pytest.raises(LatteError, match="E0415"):
        made(text, clases=3)


def test_several_nets() -> None:
    text = "net A { input a[2]\n x = ReLU(a) }\nnet B { input a[2]\n y = ReLU(a) }"
    assert names(made(text, "B")) == ["y"]
    assert codes(text) == ["E0414"]


def test_expressions_are_unnamed_neurons() -> None:
    net = body("a = ReLU(image + 1)\nz = a + exp(image / 2) * normal()\nb = ReLU(z + a)")
    assert names(net) == ["expression1", "a", "z", "expression2", "b"]
    text = shown(net, "z")
    assert "value = a + exp(image / 2) * normal#" in text
    assert "a = a[d0, d1, d2]" in text


def test_draws_have_streams_of_their_own_and_stay() -> None:
    text = "a = Dropout(image)\nb = Dropout(a)\nc = image + random() + random()"
    first, second = show_net(body(text)), show_net(body(text))
    streams = [word for word in first.split() if word.startswith("uniform#")]
    assert first == second
    assert len({word.strip("(") for word in streams}) == 4


def test_windows_start_anywhere() -> None:
    net = body(
        "a = Parts(image)",
        """layer Parts(x[c, h, w]) {
            ensemble up[k: c, y: 2*h, x2: 2*w] = Identity(x[k, y // 2, x2 % w])
            ensemble half[y: h, z: w] = Sum(x[0 .. c // 2, y, z])
            ensemble dilated[y: h] = Sum(x[0, y - 2 ..+ 3 by 2, ...])
            ensemble total = Sum(x[...])
            ensemble mask[i: h, j: w] = Sum2(x[:, i], i - j)
            out = mask
        }
        neuron Sum2(x[i...], d) = sum(i) x[i] * d""",
    )
    assert "x = image[k, (y) // 2, -8*((x2) // 8) + x2]" in shown(net, "a.up")
    assert "x[i.0: 1] = image[i.0, y, z]" in shown(net, "a.half")
    assert "x[i.0: 3, i.1: 8] = image[0, 2*i.0 + y - 2, i.1]" in shown(net, "a.dilated")
    assert "x[i.0: 3, i.1: 8, i.2: 8] = image[i.0, i.1, i.2]" in shown(net, "a.total")
    same(
        net,
        "a.mask",
        """
        ensemble a.mask[i: 8, j: 8] = Sum2(
            x[i.w.0: 3, i.w.1: 8] = image[i.w.0, i, i.w.1]
            d = (i - j)
        )
            value = sum [i.w.0: 3, i.w.1: 8] x[i.w.0, i.w.1] * d
        """,
    )


def test_value_dependent_indices() -> None:
    net = made("""net N {
        input word: class(20)
        input table[20, 4]
        ensemble row[j: 4] = Identity(table[word, j])
        ensemble near = Sum(table[word - 1 ..+ 3, :])
    }""")
    assert "x = table[word, j]" in shown(net, "row")
    assert "x[i.0: 3, i.1: 4] = table[word + i.0 - 1, i.1]" in shown(net, "near")
    net = made("net N { input words[@time, 3]: class(20)\n e = Embedding(words, 6) }")
    assert "x = e.weight[words[q.0], j]" in shown(net, "e.out")
    assert shape(net, "e") == (3, 6)


def test_batch_norm_sees_the_batch() -> None:
    net = body("b = BatchNorm(image)")
    assert "x[i.0: n, i.1: 8, i.2: 8] = items(image)[i.0, ch, i.1, i.2]" in shown(net, "b.m")
    assert [each.running for each in net.updates] == ["b.mean", "b.variance"]
    assert [axis.name for axis in net.updates[0].axes] == ["ch"]


def test_time() -> None:
    net = made("""net N {
        input xs[@time, 6]
        l = LSTM(xs, 4)
        param h0[4] = 1
        ensemble decay[j: 4] = Blend(0.5, l[j], prev(decay, initial = h0)[j])
        ensemble seen = Sum(steps(decay)[:, 0])
        s = Linear(last(l), 2)
    }""")
    assert "h[k: 4] = previous(l.out)[k]" in shown(net, "l.gate")
    assert "h = previous(decay)[j] from h0[j]" in shown(net, "decay")
    assert "x[i.0: t] = all(decay)[i.0, 0]" in shown(net, "seen")
    assert "x[i.0: 4] = last(l.out)[i.0]" in shown(net, "s.out")
    assert net.inputs[0].time


def test_ensembles_in_any_order() -> None:
    net = made("""net N {
        input a[3]
        ensemble x[i: 3] = Identity(y[i])
        z = Linear(w, 2)
        ensemble w[i: 4] = Sum(a[:])
        ensemble y[i: 3] = Identity(a[i])
    }""")
    assert names(net) == ["x", "w", "z.out", "y"]


def test_views_are_one_to_one() -> None:
    net = body("""
        f = flatten(image)
        r = reshape(f, [6, 32])
        t = transpose(image, [2, 0, 1])
        j = join(image, image, axis = 1)
        g = Linear(t, 2)
    """)
    assert [shape(net, name) for name in "frtj"] == [(192,), (6, 32), (8, 3, 8), (3, 16, 8)]
    rows = (("f", (192,)), ("r", (6, 32)), ("t", (8, 3, 8)))
    for name, sizes in rows:
        view = next(each for each in net.nodes if each.name == name)
        assert not isinstance(view, Ensemble)
        places = {axis.name: size - 1 for axis, size in zip(view.axes, sizes, strict=True)}
        source = [int(entry.evaluate(places)) for entry in view.index]  # type: ignore[union-attr]
        back = {f"s.{k}": place for k, place in enumerate(source)}
        again = [int(entry.evaluate(back)) for entry in view.inverse]  # type: ignore[union-attr]
        assert again == [size - 1 for size in sizes]


def test_losses_have_weights_and_names() -> None:
    net = made("""net N {
        input a[3]
        input b[3]
        s = Linear(a, 3)
        loss MeanSquaredLoss(s, b)
        loss 0.3 * L1Loss(s, b)
        loss far = 2 * 0.5 * L1Loss(s, b) / 4
        metric MeanSquaredLoss(a, b)
        metric near = L1Loss(a, b)
    }""")
    assert [(each.name, each.weight) for each in net.losses] == [
        ("meansquaredloss1", 1.0), ("l1loss1", 0.3), ("far", 0.25),
    ]  # fmt: skip
    assert [each.name for each in net.metrics] == ["meansquaredloss2", "near"]
    assert net.output == "s"


def test_neurons_of_the_user_and_of_the_library() -> None:
    net = body(
        "a = Linear(image, 4)\nb = Gated(a)\nc = LeakyReLU(a, 0.5)",
        """neuron Weighted(x[i...]) = max(i) x[i]
        neuron LeakyReLU(x, slope) = x * slope * 3
        neuron Gated(x) = x * Half(x)
        neuron Half(x) = sigmoid(x) / 2""",
    )
    assert "bias + (sum" in shown(net, "a.out")
    assert "value = a * (sigmoid(a) / 2)" in shown(net, "b").replace("x", "a")
    assert "value = x * 0.5 * 3" in shown(net, "c")


def test_layer_parts_and_tied_parameters() -> None:
    net = body(
        "a = Linear(image, 4)\nb = Back(a, a.weight)\nc = b.twice",
        """layer Back(x[i], weight[i, j...]) {
            ensemble out[p...: j] = Sum3(x[:], weight[:, p])
            twice = out + out
        }
        neuron Sum3(x[i], w[i]) = sum(i) x[i] * w[i]""",
    )
    assert "w[i: 4] = a.weight[i, p.0, p.1, p.2]" in shown(net, "b.out")
    assert dict(net.names)["c"] == "b.twice"
    assert len(net.parameters) == 2


def test_solver_and_schedules() -> None:
    text = "net N { input a[2]\n s = Linear(a, 2)\n loss L1Loss(s, a) }\n"
    net = made(text + "train N { solver Momentum(rate = warmup(inv(0.1, 1, 2), over = 5)) }")
    shown_solver = show_net(net) + str(net.training.solver)
    assert [hyper.name for hyper in net.training.solver.hypers] == ["rate", "momentum", "decay"]
    assert [each.target for each in net.training.solver.assignments] == ["history", "param"]
    assert "'t'" in shown_solver
    plain = made(text).training
    assert (plain.solver.name, plain.batch, plain.epochs) == ("Momentum", 64, 10)


def test_every_input_of_a_net_is_checked_at_once() -> None:
    text = """net N {
        input a[3, 8, 8]
        b = Conv(a, 4, kernel = 12)
        c = ReLU(b)
        d = Linear(a, 3) + Linear(a, 4)
        e = c + d
        f = Conv(a, 4, kernel = (3, 3, 3))
    }"""
    assert codes(text) == ["E0511", "E0504", "E0507"]


def test_before_a_bracket_a_source_is_meant() -> None:
    net = body("a = L(image)", "layer L(x[c, h, w]) { ensemble out[y: h, x: w] = Sum(x[:, y, x]) }")
    assert "x[i.0: 3] = image[i.0, y, x]" in shown(net, "a.out").replace("x.w", "x")


def test_an_update_may_read_what_is_declared_below() -> None:
    net = made("""net N {
        input a[3]
        running mean[3] = 0
        update mean[i] = mean[i] / 2 + now[i]
        ensemble now[i: 3] = Mean(items(a)[:, i])
    }""")
    assert [node.name for node in net.nodes] == ["now"]
    assert len(net.updates) == 1


def test_a_window_has_a_limit() -> None:
    text = "net N { input a[3]\n ensemble b = Sum(a[0 ..+ 10 ** 15]) }"
    assert codes(text) == ["E0506"]


def test_a_moment_with_a_name_is_an_ensemble() -> None:
    net = made("""net N {
        input xs[@time, 6]
        h = LSTM(xs, 4)
        z = last(h)
        before = prev(z)
        s = Linear(before, 2)
    }""")
    assert "h = last(h.out)[j]" in shown(net, "z")
    assert "z = previous(z)[j]" in shown(net, "before")
    assert dict(net.names)["z"] == "z"
