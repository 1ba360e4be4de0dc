"""uPlot, which draws the charts: taken from the package `youplot`, which carries it; no copy is committed.

The file is uPlot 1.6.31 (MIT) byte for byte as npm has it. The page states its hash, so a browser refuses any
other; see docs/decisions.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from upswell.errors import SettingsError
from upswell.extras import needs


def vendor_files() -> dict[str, Path]:
    """Return the files of uPlot by the names that the page asks for; without the package, a SettingsError."""
    spec = find_spec("youplot")  # found, not imported: only its files are wanted
    if spec is None or not spec.origin:
        error = ModuleNotFoundError("No module named 'youplot'")
        raise SettingsError(needs("upswell dashboard", "dashboard", error))
    folder = Path(spec.origin).parent / "vendor"
    return {"uplot.js": folder / "uplot.iife.min.js", "uplot.css": folder / "uplot.min.css"}
