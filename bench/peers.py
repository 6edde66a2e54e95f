"""Every net of the table beside its peers, each in a process of its own; into bench/results.json.

    python bench/peers.py                           all nets, about fifteen minutes
    python bench/peers.py --only AlexNet LeNet --rounds 3
    python bench/peers.py --others                  nets that no aim was set for

What runs is `latte bench FILE --json --only-peers --peer ...`: PyTorch's best of eager, channels
last and compiled for a training step; those, ONNX Runtime and OpenVINO for inference; all in
float32, in turn with ours. `python bench/render.py` makes tables and pictures of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

import results
from nets import ENTRIES, OTHERS, ROOT, Entry

PEERS = ("torch", "onnxruntime", "openvino")


def run(entry: Entry, chosen: argparse.Namespace, *extra: str) -> dict[str, Any]:
    """One `latte bench`; what it printed, or what went wrong."""
    words = [sys.executable, "-m", "latte", "bench", str(entry.path), "--json", "--only-peers"]
    words += ["--batch", str(entry.batch), "--threads", str(chosen.threads)]
    words += ["--rounds", str(chosen.rounds), *extra]
    words += ["--time", str(entry.time)] if entry.time else []
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        print(done.stderr.strip()[-2000:], file=sys.stderr)
        return {"peers": [], "failed": done.stderr.strip().splitlines()[-1:]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def measured(entry: Entry, chosen: argparse.Namespace) -> dict[str, Any]:
    """All comparisons of one net: with Winograd's algorithms, and a step without them."""
    peers = [word for peer in chosen.peer for word in ("--peer", peer)]
    modes = [word for mode in chosen.mode for word in ("--mode", mode)]
    found = {"name": entry.name, "batch": entry.batch, "peers": []}
    found["peers"] = run(entry, chosen, *peers, *modes)["peers"]
    if entry.direct and "torch" in chosen.peer:
        rows = run(entry, chosen, "--no-winograd", "--peer", "torch", *modes)["peers"]
        found["direct"] = rows
    return found


def told(entry: Entry, found: dict[str, Any]) -> str:
    """One line: the ratio over the best peer of each phase."""
    parts = []
    lines = ("step", "peers", "step"), ("direct", "direct", "step"), ("predict", "peers", "predict")
    for title, part, phase in lines:
        rows = [row for row in found.get(part, ()) if row["phase"] == phase]
        if rows:
            row = min(rows, key=lambda row: row["ratio"])
            rival = f"{row['peer']} {row['mode']} {row['peer_ms']:.3g}"
            parts.append(f"{title} {row['ratio']:.2f} ({row['latte_ms']:.3g} ms; {rival})")
    return f"{entry.label:22} " + " | ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NET", help="names of nets  [all]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", nargs="+", default=PEERS, choices=PEERS)
    parser.add_argument(
        "--mode", nargs="+", default=["eager", "channels_last", "compile"], help="of PyTorch"
    )
    parser.add_argument("--others", action="store_true", help="the nets that no aim was set for")
    chosen = parser.parse_args()
    part, entries = ("others", OTHERS) if chosen.others else ("peers", ENTRIES)
    known = {(row["name"], row["batch"]): row for row in results.load().get(part, ())}
    for entry in entries:
        if chosen.only is None or entry.name in chosen.only:
            known[entry.name, entry.batch] = measured(entry, chosen)
            print(told(entry, known[entry.name, entry.batch]), flush=True)
            results.save(part, list(known.values()))


if __name__ == "__main__":
    main()
