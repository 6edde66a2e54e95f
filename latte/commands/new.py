"""`latte new`: a folder with a net, a script that trains it, and what to do next."""

from __future__ import annotations

from pathlib import Path

import click

from latte.commands.command import Command
from latte.errors import fail
from latte.options import demo_net

SCRIPT = '''"""Train the net beside this file and look at what it says of a few digits."""

from pathlib import Path

import latte

net = latte.load(Path(__file__).parent / "net.latte")
print(net.summary().text())

history = latte.train(net, data="digits", on_epoch=lambda epoch: print(epoch.number, epoch.loss))
print("test accuracy", history[-1].test_metrics["accuracy"])
history.exe.save("weights.safetensors")
'''

README = """# {name}

    latte check net.latte                                    # is it sound?
    latte summary net.latte                                  # layers, shapes, parameters
    latte train net.latte --data digits --save trained       # the shipped 8x8 digits
    latte eval net.latte --data digits --weights trained
    python train.py                                          # the same from Python

`net.latte` says what the neurons are and how they are connected. Other data: `mnist:DIR`,
`images:DIR` (a folder of images for each class), `npz:FILE`; `latte train --help` lists them.
"""


@click.command(cls=Command)
@click.argument("folder", metavar="DIR")
def command(folder: str) -> None:
    """Begin a project in a new folder: net.latte, train.py, README.md.

    \b
      latte new digits
      latte train digits/net.latte --data digits
    """
    place = Path(folder)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        fail("E0955", f"`{place}` is there already, and not empty", help="name a new folder")
    place.mkdir(parents=True, exist_ok=True)
    files = {
        "net.latte": demo_net().read_text("utf-8"),
        "train.py": SCRIPT,
        "README.md": README.format(name=place.resolve().name),
    }
    for name, text in files.items():
        (place / name).write_text(text, "utf-8")
        click.echo(str(place / name))
