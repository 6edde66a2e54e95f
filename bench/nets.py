"""The nets that the figures are about, and what they are expected to reach."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Entry:
    """A net at one batch size. `training`, `direct` and `inference` are the ratios to reach: a step
    over PyTorch's best mode, the same without Winograd's algorithms, and inference over the best
    peer; None where none is set."""

    name: str
    file: str
    batch: int
    time: int | None = None
    training: float | None = None
    direct: float | None = None
    inference: float | None = None

    @property
    def label(self) -> str:
        return f"{self.name}, batch {self.batch}"

    @property
    def path(self) -> Path:
        return ROOT / self.file


ENTRIES = (
    Entry("AlexNet", "examples/nets/alexnet.latte", 64, None, 2.5, 1.4, 1.7),
    Entry("OverFeat", "examples/nets/overfeat.latte", 16, None, 3.0, 1.4, 2.0),
    Entry("VGG-A", "examples/nets/vgg_a.latte", 8, None, 3.3, 1.5, 2.5),
    Entry("GoogLeNet", "examples/nets/googlenet.latte", 32, None, 1.5, 1.2, 1.2),
    Entry("ResNet-18", "examples/nets/resnet18.latte", 16, None, 1.5, 1.2, 1.3),
    Entry("char-LSTM", "examples/nets/char_lstm.latte", 32, 64, 1.3, None, 1.2),
    Entry("LeNet", "examples/02_lenet_mnist/net.latte", 64, None, 2.0, None, 1.2),
    Entry("own layers", "examples/nets/own_layers.latte", 64, None, 1.5, None, None),
    Entry("LeNet", "examples/02_lenet_mnist/net.latte", 1, None, None, None, 1.1),
    Entry("AlexNet", "examples/nets/alexnet.latte", 1, None, None, None, 1.1),
    Entry("GoogLeNet", "examples/nets/googlenet.latte", 1, None, None, None, 1.1),
)

# Nets that no aim was set for: what else people train.
OTHERS = (
    Entry("ResNet-50", "bench/other/resnet50.latte", 8),
    Entry("MobileNet", "bench/other/mobilenet.latte", 16),
    Entry("EfficientNet, blocks", "bench/other/efficientnet.latte", 16),
    Entry("ResNeXt, blocks", "bench/other/resnext.latte", 8),
    Entry("DenseNet, 32x32", "bench/other/densenet.latte", 64),
    Entry("ResNet-20, 32x32", "bench/other/resnet20.latte", 128),
    Entry("U-Net, 96x96", "bench/other/unet.latte", 8),
    Entry("Transformer encoder", "bench/other/transformer.latte", 16),
    Entry("tagger (GRU)", "bench/other/tagger.latte", 32, 32),
    Entry("sound, 1-d", "bench/other/audio.latte", 64),
    Entry("clips, 3-d", "bench/other/video.latte", 4),
    Entry("linear layers", "bench/other/mlp.latte", 128),
)
