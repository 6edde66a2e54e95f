"""How long it takes from text to a training step that is ready to run.

    python bench/compile_time.py              the nets of the table, and chains of 1 to 200 layers

Each time in a new process, first with an empty cache of compiled code, then with a full one. The
chains are convolutions of one size, all alike or all different, with a linear layer at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import results
from nets import ENTRIES, ROOT

LAYERS = (1, 10, 25, 50, 100, 200)
BATCH = 4


def chain(layers: int, *, alike: bool) -> str:
    """The text of a net of so many convolutions."""
    lines = ["input x[8, 16, 16]", "input label: class(10)"]
    name = "x"
    for number in range(layers):
        filters = 8 if alike else 8 + number % 40
        lines.append(f"c{number} = ReLU(Conv({name}, {filters}, kernel = 3, pad = 1))")
        name = f"c{number}"
    lines += [f"scores = Linear({name}, 10)", "loss SoftmaxLoss(scores, label)"]
    return "net Chain {\n    " + "\n    ".join(lines) + "\n}\n"


def child(path: Path, batch: int, steps: int | None, threads: int) -> dict[str, float]:
    """Seconds in this process, without Python's own start."""
    start = time.perf_counter()
    import latte

    imported = time.perf_counter()
    exe = latte.load(path).compile(batch=batch, threads=threads, time=steps)
    exe.backend.prepare("step")
    return {"import": imported - start, "compile": time.perf_counter() - imported}


def measured(path: Path, batch: int, steps: int | None, threads: int) -> dict[str, float]:
    """Seconds with an empty cache, and the least of two times with a full one."""
    with tempfile.TemporaryDirectory() as cache:
        words = [sys.executable, __file__, "--child", str(path), str(batch), str(steps or 0)]
        words += ["--threads", str(threads)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "LATTE_CACHE": cache}
        runs = [
            json.loads(
                subprocess.run(
                    words, capture_output=True, text=True, check=True, env=environment
                ).stdout.splitlines()[-1]
            )
            for _ in range(3)
        ]
    return {
        "cold": runs[0]["compile"],
        "warm": min(run["compile"] for run in runs[1:]),
        "import": min(run["import"] for run in runs),
    }


def nets(threads: int) -> list[dict[str, Any]]:
    """Every net of the table, at its first batch size."""
    rows, seen = [], set[str]()
    for entry in ENTRIES:
        if entry.name not in seen:
            seen.add(entry.name)
            found = measured(entry.path, entry.batch, entry.time, threads)
            rows.append({"name": entry.name, "batch": entry.batch, **found})
            print(f"{entry.name:12} cold {found['cold']:.2f} s, warm {found['warm']:.2f} s")
    return rows


def chains(threads: int) -> list[dict[str, Any]]:
    """Chains of convolutions."""
    rows = []
    for layers in LAYERS:
        for alike in (True, False):
            with tempfile.NamedTemporaryFile("w", suffix=".latte", encoding="utf-8") as file:
                file.write(chain(layers, alike=alike))
                file.flush()
                found = measured(Path(file.name), BATCH, None, threads)
            rows.append({"layers": layers, "alike": alike, **found})
            kind = "alike" if alike else "different"
            print(f"{layers:3} layers, {kind:9} cold {found['cold']:.2f}, warm {found['warm']:.2f}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["nets", "chains"])
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        path, batch, steps = chosen.child
        print(json.dumps(child(Path(path), int(batch), int(steps) or None, chosen.threads)))
        return
    for part, run in (("nets", nets), ("chains", chains)):
        if chosen.only in (None, part):
            results.save(f"compile {part}", run(chosen.threads))


if __name__ == "__main__":
    main()
