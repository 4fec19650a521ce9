"""What pyright says of the types: that all are known, and that wrong uses are refused.

    python tools/typing_report.py

Every public name and attribute of the package has a type that is known without guessing
(`pyright --verifytypes`), and of `tests/uses.py` those lines are refused that say so, as by mypy
in `tests/test_types.py`. Needs the extras "test" and "dev".
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
USES = ROOT / "tests" / "uses.py"
MARK = "# refused"


def pyright(*arguments: str) -> dict[str, Any]:
    """What it found, with the packages of this interpreter."""
    # `--verifytypes` takes the first interpreter of the path, whatever else it is told
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    asked = [sys.executable, "-m", "pyright", "--outputjson", *arguments]
    env = os.environ | {"PATH": path, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(asked, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        sys.exit(f"pyright gave no report: {(done.stdout + done.stderr).strip()[:2000]}")
    return found


def unknown(report: dict[str, Any]) -> list[str]:
    """A sentence for every public name whose type is not known, or has to be inferred.

    Where some are unknown by themselves, what is only made of them is left out.
    """
    symbols = report["typeCompleteness"]["symbols"]
    bad = [s for s in symbols if s["isExported"] and (not s["isTypeKnown"] or s["isTypeAmbiguous"])]
    said = {s["name"]: [d["message"].split("\n")[0] for d in s["diagnostics"]] for s in bad}
    causes = {name: [m for m in told if "partially" not in m] for name, told in said.items()}
    chosen = {name: told for name, told in causes.items() if told} or said
    return [f"{name}: {'; '.join(told)}" for name, told in chosen.items()]


def misjudged(report: dict[str, Any]) -> list[str]:
    """The lines of the uses that are refused without saying so, or the other way round."""
    lines = USES.read_text(encoding="utf-8").splitlines()
    found = report["generalDiagnostics"]
    refused = {x["range"]["start"]["line"] for x in found if x["severity"] == "error"}
    expected = {n for n, line in enumerate(lines) if line.endswith(MARK)}
    what = {True: "refused", False: "taken"}
    wrong = sorted(refused ^ expected)
    return [f"{USES.name}:{n + 1} is {what[n in refused]}: {lines[n]}" for n in wrong]


def main() -> None:
    """Say what is wrong, and how much there is."""
    names = pyright("--verifytypes", "stiffguide", "--ignoreexternal")
    uses = pyright(str(USES))
    wrong = [*unknown(names), *misjudged(uses)]
    print("\n".join(wrong) or "every type is known, and every wrong use is refused")
    counts = names["typeCompleteness"]["exportedSymbolCounts"]
    print(f"{sum(counts.values())} public names, {counts['withKnownType']} with a known type")
    if not counts["withKnownType"] or not uses["summary"]["errorCount"]:
        sys.exit("nothing was looked at: is the package installed?")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
