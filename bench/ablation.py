"""What each kind of fusion brings: a step without it, in turn with a step that has all.

python bench/ablation.py --only AlexNet ResNet-18         into bench/results.json
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import results
from nets import ENTRIES, Entry

import latte
from latte.commands.bench import settle, synthetic_batch
from latte.compiler.choices import FUSIONS
from latte.peers.compare import Side, compare


def measured(entry: Entry, chosen: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of a step with everything, and how much longer it takes without each kind."""
    net, given = latte.load(entry.path), {"batch": entry.batch, "time": entry.time}
    exe = net.compile(threads=chosen.threads, **given)
    settle(exe)
    fed = synthetic_batch(exe)
    sides = []
    for name, kinds in (*((kind, (kind,)) for kind in FUSIONS), ("all of them", tuple(FUSIONS))):
        other = net.compile(threads=chosen.threads, no_fuse=kinds, **given)
        settle(other)
        sides.append(Side("latte", name, partial(other.step, **fed), None, 0.0))
    found = compare(
        "step", partial(exe.step, **fed), sides, rounds=chosen.rounds, seconds=chosen.seconds
    )
    return {
        "name": entry.name,
        "batch": entry.batch,
        "ms": round(found[0].ours * 1e3, 3),
        "without": {each.mode: round(each.ratio, 3) for each in found},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NET")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=0.3, help="of a turn")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    rows = {(row["name"], row["batch"]): row for row in results.load().get("ablation", ())}
    for entry in ENTRIES:
        wanted = chosen.only is None or entry.name in chosen.only
        if wanted and entry.batch > 1:
            row = rows[entry.name, entry.batch] = measured(entry, chosen)
            told = ", ".join(f"{kind} {ratio:.2f}" for kind, ratio in row["without"].items())
            print(f"{entry.label:22} {row['ms']:.1f} ms; times as long without {told}", flush=True)
            results.save("ablation", list(rows.values()))


if __name__ == "__main__":
    main()
