"""A process that asks cases as it is told, a line of JSON each, within bounds.

In: {"target", "seed"} or {"target", "choices"}, and "seconds". Out: an outcome. Who takes more than
these CPU seconds is ended by the system, and leaves the choices in the journal.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import warnings
from typing import IO

MEMORY = 4 << 30  # bytes of data of a process; torch alone takes 0.5 GiB


def bound(seconds: float) -> None:
    """CPU seconds from now on, after which this process ends."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = used.ru_utime + used.ru_stime
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(spent + seconds) + 1, hard))


def main(journal: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what fields and libraries print is no answer
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    with open(journal, "w", encoding="ascii") as log:
        for line in sys.stdin:
            answer(json.loads(line), log, answers)


def answer(question: dict[str, object], log: IO[str], answers: IO[str]) -> None:
    from campaign import cases

    log.seek(0)
    log.truncate()
    bound(float(str(question["seconds"])))

    def note(value: int) -> None:
        log.write(f"{value} ")
        log.flush()

    name = str(question["target"])
    if "choices" in question:
        outcome = cases.by_choices(name, question["choices"], note)  # type: ignore[arg-type]
    else:
        outcome = cases.by_seed(name, int(str(question["seed"])), note)
    print(json.dumps(outcome.data()), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
