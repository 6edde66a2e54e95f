"""Data by SPEC: what is read, how it fits a net, and what is said when it does not."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from latte.compiler.expression import Axis
from latte.compiler.net import Input
from latte.errors import LatteError
from latte.runtime.datasets import from_arrays, open_data, open_test, parse_spec
from latte.runtime.idx import read_idx


def array(name, *sizes, time=False):
    return Input(name, tuple(Axis(f"a{k}", size) for k, size in enumerate(sizes)), time=time)


def classes(name, count, time=False):
    return Input(name, (), classes=count, time=time)


DIGITS = [array("image", 1, 8, 8), classes("label", 10)]


def first(data, count=4):
    room = data.room(count)
    data.fill(np.arange(count), room)
    return room


def idx(values, code=8):
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, code, values.ndim, *values.shape)
    return header + values.tobytes()


def code_of(problem):
    return problem.value.diagnostics[0].code


# SPECs


def test_specs():
    spec = parse_spec("mnist:/data/mnist@test")
    assert (spec.kind, spec.place, spec.split) == ("mnist", "/data/mnist", "test")
    assert str(parse_spec("digits")) == "digits@train"
    assert not parse_spec("digits").explicit
    assert parse_spec("npz:a@b/c.npz").place == "a@b/c.npz"


@pytest.mark.parametrize(
    "text, code, says",
    [
        ("minst:x", "E0850", "did you mean `mnist`"),
        ("mnist", "E0850", "needs a place"),
        ("digits@tset", "E0856", "no split `tset`"),
        ("", "E0850", "unknown data"),
    ],
)
def test_wrong_specs(text, code, says):
    with pytest.raises(LatteError, match=says) as problem:
        parse_spec(text)
    assert code_of(problem) == code


def test_hdf5_says_what_to_do():
    with pytest.raises(LatteError, match=r"numpy\.savez"):
        open_data(parse_spec("h5:x.h5"), DIGITS)


# The shipped digits


def test_digits():
    train, test = open_data(parse_spec("digits"), DIGITS), open_test(parse_spec("digits"), DIGITS)
    assert (len(train), len(test)) == (1498, 299)
    room = first(train)
    assert room["image"].dtype == np.float32
    assert (room["image"].min(), room["image"].max()) == (0, 1)
    assert room["label"].tolist() == [0, 1, 2, 3]


def test_inputs_are_found_by_kind_and_flattened():
    data = open_data(parse_spec("digits"), [classes("answer", 10), array("pixels", 64)])
    assert first(data)["pixels"].shape == (4, 64)
    assert first(data)["answer"].tolist() == [0, 1, 2, 3]


def test_shapes_that_differ_are_both_named():
    with pytest.raises(
        LatteError, match=r"\[1, 28, 28\], but `image` of `digits@train` has \[1, 8, 8\]"
    ):
        open_data(parse_spec("digits"), [array("image", 1, 28, 28), classes("label", 10)])


def test_an_input_without_data():
    with pytest.raises(LatteError, match="`mask`") as problem:
        open_data(parse_spec("digits"), [*DIGITS, array("mask", 8, 8)])
    assert code_of(problem) == "E0854"


# IDX files


@pytest.fixture
def mnist(tmp_path):
    pixels = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28)
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.array([3, 1, 2], np.uint8)))
    return tmp_path


def test_mnist(mnist):
    data = open_data(parse_spec(f"mnist:{mnist}"), [array("x", 1, 28, 28), classes("y", 10)])
    room = first(data, 3)
    assert room["y"].tolist() == [3, 1, 2]
    assert room["x"].flat[255] == 1


def test_labels_and_images_must_agree(mnist):
    (mnist / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(2, np.uint8)))
    with pytest.raises(LatteError, match="2 labels for 3 images"):
        open_data(parse_spec(f"mnist:{mnist}"), [array("x", 1, 28, 28), classes("y", 10)])


def test_a_missing_file_is_named(mnist):
    (mnist / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(LatteError, match="train-labels-idx1-ubyte") as problem:
        open_data(parse_spec(f"mnist:{mnist}"), [array("x", 1, 28, 28), classes("y", 10)])
    assert code_of(problem) == "E0851"


WHOLE = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_every_truncation_is_found_at_its_byte(tmp_path, length, packed):
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(WHOLE[:length]) if packed else WHOLE[:length])
    with pytest.raises(LatteError, match=rf"damaged at byte {length}:"):
        read_idx(path, axes=3)


def test_every_truncation_of_the_packing_is_found(tmp_path):
    path, packed = tmp_path / "x.gz", gzip.compress(WHOLE)
    for length in range(2, len(packed)):
        path.write_bytes(packed[:length])
        with pytest.raises(LatteError, match="damaged at byte"):
            read_idx(path, axes=3)


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda b: b"\1" + b[1:], "byte 0: .* is not how an IDX file begins"),
        (lambda b: b[:2] + b"\x07" + b[3:], "byte 0"),
        (lambda b: b[:3] + b"\x02" + b[4:], "byte 3: it has 2 axes"),
        (lambda b: b[:4] + b"\xff" * 12 + b[16:], "byte 4: its sizes"),
        (lambda b: b + b"!", "byte 40: there are more bytes"),
    ],
)
def test_damage(tmp_path, change, says):
    path = tmp_path / "x"
    path.write_bytes(change(WHOLE))
    with pytest.raises(LatteError, match=says):
        read_idx(path, axes=3)


def test_other_elements(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(idx(np.array([1.5, -2], ">f4"), code=0x0D))
    assert read_idx(path, axes=1).tolist() == [1.5, -2]


def test_real_mnist():
    folder = os.environ.get("LATTE_TEST_MNIST")
    beside = Path(__file__).parents[3] / "shared" / "data" / "mnist"
    if not (folder or beside.is_dir()):
        pytest.skip("no MNIST: set LATTE_TEST_MNIST to its folder")
    spec = parse_spec(f"mnist:{folder or beside}@test")
    data = open_data(spec, [array("image", 1, 28, 28), classes("label", 10)])
    assert len(data) == 10_000
    assert first(data)["label"].tolist() == [7, 2, 1, 0]


# Others


def test_npz_by_name_and_split(tmp_path):
    path = tmp_path / "x.npz"
    images = np.full((5, 2, 2), 255, np.uint8)
    np.savez(path, x_train=images, y_train=np.arange(5), x_test=images[:2], y_test=np.arange(2))
    inputs = [array("x", 1, 2, 2), classes("y", 5)]
    assert len(open_data(parse_spec(f"npz:{path}"), inputs)) == 5
    assert len(open_test(parse_spec(f"npz:{path}"), inputs)) == 2
    assert first(open_data(parse_spec(f"npz:{path}"), inputs))["x"].max() == 1


def test_npz_without_test_arrays(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, x=np.zeros((5, 3)), y=np.zeros((5, 1)))
    inputs = [array("x", 3), array("y")]
    assert len(open_data(parse_spec(f"npz:{path}"), inputs)) == 5
    assert open_test(parse_spec(f"npz:{path}"), inputs) is None


def test_npz_never_unpickles(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, x=np.array([{"a": 1}], object))
    with pytest.raises(LatteError, match="E0852"):
        open_data(parse_spec(f"npz:{path}"), [array("x", 1)])


def test_npz_damage(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.arange(1000.0))
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(LatteError, match="E0852"):
            open_data(parse_spec(f"npz:{path}"), [array("x")])


def test_sequences_with_lengths():
    data = from_arrays(
        {"xs": np.zeros((3, 5, 2)), "y": np.zeros(3, int), "lengths": np.array([5, 2, 1])},
        [array("xs", 2, time=True), classes("y", 2)],
    )
    assert data.steps == 5
    assert first(data, 3)["lengths"].tolist() == [5, 2, 1]


def test_cifar10(tmp_path):
    rows = np.zeros((2, 3073), np.uint8)
    rows[:, 0] = [3, 9]
    (tmp_path / "test_batch.bin").write_bytes(rows.tobytes())
    inputs = [array("image", 3, 32, 32), classes("label", 10)]
    spec = parse_spec(f"cifar10:{tmp_path}@test")
    assert first(open_data(spec, inputs), 2)["label"].tolist() == [3, 9]
    (tmp_path / "test_batch.bin").write_bytes(rows.tobytes()[:-5])
    with pytest.raises(LatteError, match="byte 6141: the file ends inside its record 1"):
        open_data(spec, inputs)
    rows[1, 0] = 10
    (tmp_path / "test_batch.bin").write_bytes(rows.tobytes())
    with pytest.raises(LatteError, match="byte 3073: 10 is no class"):
        open_data(spec, inputs)


def test_a_folder_of_images(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for name, color in (("cat", "white"), ("dog", "black")):
        (tmp_path / name).mkdir()
        for number in range(10):
            image.new("RGB", (20, 10), color).save(tmp_path / name / f"{number}.png")
    inputs = [array("image", 3, 8, 8), classes("label", 2)]
    data = open_data(parse_spec(f"images:{tmp_path}"), inputs)
    assert (len(data), len(open_test(parse_spec(f"images:{tmp_path}"), inputs))) == (18, 2)
    room = first(data, 10)
    assert room["label"].tolist() == [0] * 9 + [1]
    assert (room["image"][0] == 1).all() and (room["image"][9] == 0).all()
    (tmp_path / "cat" / "1.png").write_bytes(b"no image")
    with pytest.raises(LatteError, match=r"1\.png` is not an image"):
        first(data)


def test_text(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("abcd" * 100)
    inputs = [classes("now", 4, time=True), classes("then", 4, time=True)]
    data = open_data(parse_spec(f"text:{path}", steps=5), inputs)
    room = first(data, 2)
    assert room["now"].tolist() == [[0, 1, 2, 3, 0], [1, 2, 3, 0, 1]]
    assert room["then"].tolist() == [[1, 2, 3, 0, 1], [2, 3, 0, 1, 2]]
    with pytest.raises(LatteError, match="4 different bytes"):
        open_data(parse_spec(f"text:{path}"), [classes("now", 3, time=True)])


def test_synthetic_data_is_always_the_same_and_tells_its_kind():
    inputs = [array("image", 3, 4, 4), classes("label", 5)]
    data = open_data(parse_spec("synthetic"), inputs)
    once, again = first(data, 50), first(open_data(parse_spec("synthetic"), inputs), 50)
    assert (once["image"] == again["image"]).all()
    means = np.stack([once["image"][once["label"] == k].mean(0) for k in range(5)])
    far = ((once["image"][:, None] - means) ** 2).sum((2, 3, 4))
    assert (far.argmin(1) == once["label"]).all()


def test_synthetic_sequences():
    inputs = [classes("words", 7, time=True), array("xs", 2, time=True), array("rating")]
    room = first(open_data(parse_spec("synthetic", steps=6), inputs))
    assert [room[name].shape for name in ("words", "xs", "rating")] == [(4, 6), (4, 6, 2), (4,)]


def test_given_arrays_must_agree():
    with pytest.raises(LatteError, match="same number of items"):
        from_arrays({"image": np.zeros((3, 8, 8)), "label": np.zeros(2, int)}, DIGITS)
