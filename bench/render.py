"""bench/results.json -> the tables of docs/performance.md, and pictures beside it.

    python bench/render.py                  tables, and pictures where matplotlib is installed
    python bench/render.py --only tables

A table stands between `<!-- table NAME -->` and `<!-- end -->`; what is around them is written by
hand and stays.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable
from typing import Any

import results
from nets import ENTRIES, OTHERS, ROOT, Entry

PAGE = ROOT / "docs" / "performance.md"
PICTURES = ROOT / "docs" / "pictures"
SHORT = {"channels_last": "channels last", "compile": "`torch.compile`", "f32": ""}
MB = 2**20
Row = dict[str, Any]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def entries(found: Row, part: str, phase: str) -> list[tuple[Entry, list[Row]]]:
    """Nets with their comparisons of one phase, in the order of bench/nets.py."""
    known = {(row["name"], row["batch"]): row for row in found.get("peers", ())}
    pairs = ((entry, known.get((entry.name, entry.batch), {})) for entry in ENTRIES)
    pairs = ((e, k) for e, k in pairs if phase == "predict" or e.training)
    rows = ((e, [r for r in k.get(part, ()) if r["phase"] == phase]) for e, k in pairs)
    return [(entry, listed) for entry, listed in rows if listed]


def best(rows: list[Row]) -> Row:
    """The peer that is hardest to beat."""
    return min(rows, key=lambda row: row["ratio"])


def milliseconds(value: float) -> str:
    return (
        f"{value:,.0f} ms"
        if value >= 100
        else f"{value:.1f} ms"
        if value >= 1
        else f"{value:.2f} ms"
    )


def peer(row: Row) -> str:
    """How a peer is called: `torch channels last`, `openvino`."""
    return f"{row['peer']} {SHORT.get(row['mode'], row['mode'])}".strip()


def compared(found: Row, part: str, phase: str) -> str:
    """One line for each net: every peer's time, and the ratio over the best."""
    listed = entries(found, part, phase)
    names = list(dict.fromkeys(peer(row) for _, rows in listed for row in rows))
    body = []
    for entry, rows in listed:
        times = {peer(row): milliseconds(row["peer_ms"]) for row in rows}
        first = best(rows)
        ours = milliseconds(min(row["latte_ms"] for row in rows))
        ratio = f"**{first['ratio']:.2f}**"
        body.append([entry.label, ours, *(times.get(name, "") for name in names), ratio])
    return table(["net", "Latte", *names, "best of them / Latte"], body)


def others(found: Row) -> str:
    """One line for each net that no aim was set for: a step and inference over the best peer."""
    known = {(row["name"], row["batch"]): row["peers"] for row in found.get("others", ())}
    body = []
    for entry in OTHERS:
        cells = [entry.label]
        for phase in ("step", "predict"):
            rows = [r for r in known.get((entry.name, entry.batch), ()) if r["phase"] == phase]
            if rows:
                first = best(rows)
                cells += [milliseconds(min(row["latte_ms"] for row in rows))]
                cells += [f"{milliseconds(first['peer_ms'])} ({peer(first)})"]
                cells += [f"**{first['ratio']:.2f}**"]
        if len(cells) > 1:
            body.append(cells)
    return table(
        ["net", "a step", "best peer's", "ratio", "inference", "best peer's", "ratio"], body
    )


def memory(found: Row) -> str:
    body = []
    for row in found.get("memory", ()):
        peaks = [row[side]["peak"] / MB for side in ("latte", "eager", "channels_last")]
        ratio = f"**{peaks[0] / min(peaks[1:]):.2f}**"
        label = f"{row['name']}, batch {row['batch']}"
        body.append([label, *(f"{peak:,.0f} MB" for peak in peaks), ratio])
    return table(["net", "Latte", "torch eager", "torch channels last", "Latte / torch"], body)


def compiling(found: Row) -> str:
    rows = found.get("compile nets", ())
    body = [[row["name"], f"{row['cold']:.2f} s", f"{row['warm']:.2f} s"] for row in rows]
    return table(["net", "nothing cached", "cached"], body)


def chains(found: Row) -> str:
    rows = {(row["layers"], row["alike"]): row for row in found.get("compile chains", ())}
    body = [
        [str(layers)]
        + [f"{rows[layers, alike][k]:.2f} s" for alike in (True, False) for k in ("cold", "warm")]
        for layers in sorted({layers for layers, _ in rows})
    ]
    head = ["layers", "all alike", "cached", "of 40 sizes", "cached"]
    return table(head, body)


def ablation(found: Row) -> str:
    rows = found.get("ablation", ())
    kinds = list(dict.fromkeys(kind for row in rows for kind in row["without"]))
    body = [
        [f"{row['name']}, batch {row['batch']}", milliseconds(row["ms"])]
        + [f"{row['without'][kind]:.2f}" for kind in kinds]
        for row in rows
    ]
    return table(["net", "a step", *(f"without {kind}" for kind in kinds)], body)


def machine(found: Row) -> str:
    facts = found.get("machine", {})
    versions = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
    packages = facts.get("packages", {})
    said = ", ".join(f"{name} {packages.get(key)}" for key, name in versions.items())
    return (
        f"Measured on {facts.get('date')}: {facts.get('cores')} cores of an "
        f"{facts.get('processor')}, {facts.get('system')}, Python {facts.get('python')}; {said}."
    )


TABLES: dict[str, Callable[[Row], str]] = {
    "machine": machine,
    "training": lambda found: compared(found, "peers", "step"),
    "direct": lambda found: compared(found, "direct", "step"),
    "inference": lambda found: compared(found, "peers", "predict"),
    "others": others,
    "memory": memory,
    "compiling": compiling,
    "chains": chains,
    "ablation": ablation,
}


def write_tables(found: Row) -> None:
    """Replaces every table of the page."""
    text = PAGE.read_text("utf-8")
    for name, make in TABLES.items():
        pattern = re.compile(f"(<!-- table {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert pattern.search(text), f"docs/performance.md has no place for the table {name}"
        made = make(found)
        text = pattern.sub(lambda match, made=made: match[1] + made + "\n" + match[2], text)
    PAGE.write_text(text, "utf-8")


HEIGHT = 0.4  # of a bar, the nets being 1 apart
OURS, PLAIN, INK, LINE, GRID = "#0b6e99", "#8fbfd4", "#333333", "#999999", "#dddddd"


def draw(found: Row) -> None:
    """Ratios of training and inference, and the growth of compile time, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {
        "svg.hashsalt": "latte", "font.size": 10, "text.color": INK, "axes.edgecolor": INK,
        "axes.spines.top": False, "axes.spines.right": False, "xtick.color": INK,
        "ytick.color": INK, "axes.labelcolor": INK,
    }  # fmt: skip
    PICTURES.mkdir(exist_ok=True)
    training = [("Latte", OURS, entries(found, "peers", "step"))]
    training.append(("without Winograd", PLAIN, entries(found, "direct", "step")))
    ratios("training.svg", "times as fast as PyTorch's best mode, a training step", training)
    inference = [("Latte", OURS, entries(found, "peers", "predict"))]
    title = "times as fast as the best of PyTorch, ONNX Runtime and OpenVINO, inference"
    ratios("inference.svg", title, inference)
    growth(found)


Series = tuple[str, str, list[tuple[Entry, list[Row]]]]


def ratios(file: str, title: str, series: list[Series]) -> None:
    """Bars from 0; the line at 1 is the best peer. Each bar says its value."""
    from matplotlib import pyplot

    labels = list(dict.fromkeys(entry.label for _, _, listed in series for entry, _ in listed))
    if not labels:
        return
    values = [{entry.label: best(rows)["ratio"] for entry, rows in each[2]} for each in series]
    count = sum(len(known) for known in values)
    figure, axes = pyplot.subplots(figsize=(7.5, 0.8 + 0.17 * count + 0.12 * len(labels)))
    for (name, color, _), known in zip(series, values, strict=True):
        places = [_place(label, known, values, labels) for label in known]
        bars = axes.barh(places, list(known.values()), HEIGHT * 0.92, color=color, label=name)
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=9)
    axes.axvline(1, color=LINE, linewidth=1, zorder=0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, axes.get_xlim()[1] * 1.06)
    axes.set_title(title, fontsize=10, loc="left")
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=9, loc="lower right")
    save(figure, file)


def _place(label: str, known: Row, values: list[Row], labels: list[str]) -> float:
    """Where a bar is: those of one net stand together around its label."""
    mine = [each for each in values if label in each]
    middle = (len(mine) - 1) / 2
    return (
        labels.index(label) + (next(k for k, e in enumerate(mine) if e is known) - middle) * HEIGHT
    )


def growth(found: Row) -> None:
    """Compile time against the number of layers."""
    from matplotlib import pyplot

    rows = found.get("compile chains", ())
    if not rows:
        return
    figure, axes = pyplot.subplots(figsize=(6, 3.2))
    for alike, color, name in (
        (False, OURS, "layers of 40 sizes"),
        (True, PLAIN, "layers all alike"),
    ):
        for kind, style in (("cold", "-"), ("warm", "--")):
            points = sorted((row["layers"], row[kind]) for row in rows if row["alike"] == alike)
            label = f"{name}, {'nothing cached' if kind == 'cold' else 'cached'}"
            axes.plot(
                *zip(*points, strict=True),
                style,
                color=color,
                marker="o",
                markersize=4,
                label=label,
            )
    axes.set_xlabel("layers")
    axes.set_title("seconds from text to a training step ready to run", fontsize=10, loc="left")
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    axes.set_ylim(top=axes.get_ylim()[1] * 1.25)
    save(figure, "compile-time.svg")


def save(figure: Any, file: str) -> None:
    """The same figure gives the same bytes."""
    figure.tight_layout()
    figure.savefig(PICTURES / file, metadata={"Date": None}, transparent=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["tables", "pictures"])
    chosen = parser.parse_args()
    found = results.load()
    if chosen.only != "pictures":
        write_tables(found)
    if chosen.only != "tables":
        draw(found)


if __name__ == "__main__":
    main()
