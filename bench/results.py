"""What was measured, as JSON: each script replaces its own part of bench/results.json.

save("memory", {...})   ->   {"machine": {...}, "peers": [...], "memory": {...}}
"""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "results.json"
PACKAGES = ("torch", "onnxruntime", "openvino", "llvmlite", "numpy")


def load() -> dict[str, Any]:
    """All results so far."""
    return json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}


def save(part: str, found: Any) -> None:
    """Replaces one part of the results, and says on which machine that was."""
    whole = load() | {part: found, "machine": machine()}
    FILE.write_text(json.dumps(whole, indent=1) + "\n", "utf-8")


def machine() -> dict[str, Any]:
    """The processor, the system, and the versions of what was compared."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "date": date.today().isoformat(),
    }


def _processor() -> str:
    """The model's name, and its widest vectors."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    flags = facts.get("flags", "").split()
    vectors = next((v for v in ("avx512f", "avx2") if v in flags), "")
    name = facts.get("model name", platform.machine())
    return f"{name} ({vectors.upper().replace('512F', '-512')})" if vectors else name


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
