"""Train LeNet on MNIST from Python.

python examples/02_lenet_mnist/train.py FOLDER      # with the four IDX files, .gz or not
"""

import sys
from pathlib import Path

import latte

HERE = Path(__file__).parent


def main(folder: str) -> None:
    net = latte.load(HERE / "net.latte")
    history = latte.train(net, data=f"mnist:{folder}", epochs=4, seed=0)
    print(f"test accuracy {history[-1]['test_accuracy']:.4f}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: train.py FOLDER")
    main(sys.argv[1])
