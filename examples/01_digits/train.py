"""Train the digits net from Python and print what it makes of one digit.

python examples/01_digits/train.py
"""

from pathlib import Path

import latte

HERE = Path(__file__).parent


def main() -> None:
    net = latte.load(HERE / "net.latte")
    print(net.summary())
    history = latte.train(net, data="digits", seed=0)
    last = history[-1]
    print(f"test accuracy {last['test_accuracy']:.4f} after {len(history)} epochs")


if __name__ == "__main__":
    main()
