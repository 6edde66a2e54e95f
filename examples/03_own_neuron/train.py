"""Train the net of user-defined neurons, then look at the filters of one place.

python examples/03_own_neuron/train.py
"""

from pathlib import Path

import latte

HERE = Path(__file__).parent


def main() -> None:
    net = latte.load(HERE / "net.latte")
    history = latte.train(net, data="digits", seed=0)
    print(f"test accuracy {history[-1]['test_accuracy']:.4f}")


if __name__ == "__main__":
    main()
