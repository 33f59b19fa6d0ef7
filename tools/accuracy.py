"""True errors of attributions and what they cost: fixed rules, tolerances, and the best rule known in hindsight.

    python -m tools.accuracy [NAME ...] [--examples N] [--write]
    python -m tools.accuracy [NAME ...] --times [--tolerance T]

NAME is one of the networks of tools/exactness/subjects.py: those of models/, and small ones trained here on data that
scikit-learn ships. ``--write`` saves tools/results/accuracy.md and .png. ``--times`` prints instead the seconds of a
call, of one example and of all, against Captum with 50 steps, with as many as the same error takes, and doubling its
steps until two results agree within the tolerance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tools.exactness.measures import measured
from tools.exactness.subjects import SUBJECTS, subjects
from tools.exactness.tables import HEAD, plot, report, row, together
from tools.exactness.times import timed

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SUBJECTS))
    parser.add_argument("--examples", type=int, default=20, help="of each network")
    parser.add_argument("--times", action="store_true", help="instead: seconds, against Captum")
    parser.add_argument("--tolerance", type=float, default=0.01, help="of --times")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    chosen = subjects(options.examples, options.names)
    if options.times:
        for subject in chosen:
            for count in (1, options.examples):
                spent = timed(subject, options.tolerance, count)
                print(spent.line(f"{subject.name} ({subject.kind})", options.tolerance), flush=True)
        return
    done = []
    print(" | ".join(HEAD))
    for subject in chosen:
        done.append(measured(subject))
        for found in done[-1].adaptive:
            print(" | ".join(row(subject.name, found)), flush=True)
    for found in together(done):
        print(" | ".join(row("all", found)))
    if options.write:
        (RESULTS / "accuracy.md").write_text(report(done))
        plot(done, RESULTS / "accuracy.png")


if __name__ == "__main__":
    main()
