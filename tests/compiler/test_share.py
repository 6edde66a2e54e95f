"""What depends on the batch and on time, and in which order nodes can be computed."""

from latte import build
from latte.compiler.net import Moment, Net
from latte.compiler.pipeline import analyze
from latte.compiler.share import order


def net(body: str) -> Net:
    text = f"net Net {{\n{body}\n}}"
    return analyze(build.elaborate(build.read_text(text, "test"), None, {}))


def kinds(body: str) -> dict[str, str]:
    """For each node, which of n and t it has."""
    return {node.name: "n" * node.batch + "t" * node.time for node in net(body).nodes}


def test_statistics_over_items_have_no_batch() -> None:
    found = kinds("input x[3]\nb = BatchNorm(x)\nloss b")
    assert (found["b.m"], found["b.v"], found["b.out"]) == ("", "", "n")


def test_what_reads_parameters_alone_is_shared_until_it_draws() -> None:
    body = """input x[3]
    ensemble a[i: 3] = Identity(2 * i)
    b = a + normal()
    c = x + a
    loss c
    loss b"""
    assert kinds(body) == {"a": "", "b": "n", "c": "n"}


def test_time_ends_at_last_and_steps() -> None:
    body = """input x[@time, 3]
    h = RNN(x, 2)
    ensemble e[j: 2] = Identity(last(h)[j])
    ensemble m[j: 2] = Mean(steps(h)[:, j])
    z = e + m
    loss z"""
    assert kinds(body) == {"h.out": "nt", "e": "n", "m": "n", "z": "n"}


def test_a_cycle_is_one_group_in_the_order_of_a_step() -> None:
    groups = order(net("input x[@time, 3]\nh = LSTM(x, 2)\nloss h"))
    [cycle] = [group for group in groups if group.moment is not None]
    assert cycle.moment is Moment.PREVIOUS
    assert [node.name for node in cycle.nodes] == ["h.gate", "h.cell", "h.out"]


def test_declared_in_any_order() -> None:
    body = """input x[3]
    ensemble c[i: 3] = Identity(b[i])
    ensemble b[i: 3] = Identity(a[i])
    ensemble a[i: 3] = Identity(x[i])
    loss c"""
    assert [group.nodes[0].name for group in order(net(body))] == ["a", "b", "c"]
