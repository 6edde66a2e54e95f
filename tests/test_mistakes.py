"""One run tells wrong names and wrong sizes, each once, in the order of the text."""

from __future__ import annotations

import pytest

import latte


def told(text: str) -> list[str]:
    with pytest.raises(latte.LatteError) as caught:
        latte.loads(text).summary()
    return [f"{each.span.line} {each.code}" for each in caught.value.diagnostics if each.span]


def test_names_and_sizes() -> None:
    text = """net N {
        input image[3, 8, 8]
        input label: class(4)
        a = Conv(imge, 4, kernel = 3)
        b = ReLU(a)
        c = Conv(image, 4, kernel = 12)
        d = Linear(image, 3) + Linear(image, 4)
        e = Conv(image, 3, kernal = 2)
        f = Poool(image)
        scores = Linear(Flatten(b), 4)
        loss SoftmaxLoss(scores, lable)
    }"""
    assert told(text) == ["4 E0312", "6 E0511", "7 E0504", "8 E0403", "9 E0303", "11 E0312"]


def test_a_name_bound_twice_says_no_more() -> None:
    text = """net N {
        input image[3, 8, 8]
        input label: class(4)
        scores = ReLU(image)
        scores = Linear(image, 4)
        loss SoftmaxLoss(scores, label)
    }"""
    assert told(text) == ["5 E0204"]


def test_what_calls_itself_is_told_once() -> None:
    assert told("neuron T(x) = T(x)\nnet N { input a[3]\n b = T(a) }") == ["1 E0707"]


def test_an_argument_that_is_missing_everywhere() -> None:
    assert told("net N(k) { input a[3]\n b = Linear(c, k) }") == ["2 E0312"]
