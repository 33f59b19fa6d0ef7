"""Judge the gradients of many random graphs, in two processes; the exit status is 1 when one is wrong.

    python -m tools.random_graphs [N]

N is how many, 2,000 unless given; what they are and how they are judged is tests/judging/random_graphs.py's matter.
Printed are the counts so far and, for each graph that is wrong, a smaller one that is too, with its inputs.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.judging.random_graphs import BLOCK, Tally, run_block


def main() -> int:
    """Run as a command: judge graphs and print the counts; 1 when a graph is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("total", nargs="?", type=int, default=2000, metavar="N", help="how many (default: 2000)")
    total = parser.parse_args().total
    tally, number = Tally(), 0
    with ProcessPoolExecutor(2) as pool:
        while (judged := tally.outcomes["right"] + tally.outcomes["wrong"]) < total:
            blocks = -(-(total - judged) // BLOCK)
            for part in pool.map(run_block, range(number, number + blocks)):
                tally = tally + part
                print(f"{tally.outcomes.total():6} {dict(tally.outcomes)}", *part.failures, flush=True)
            number += blocks
    print("\noperators, and in how many right graphs each stood:")
    print(", ".join(f"{op_type} {count}" for op_type, count in sorted(tally.operators.items())))
    print("\nright graphs by number of operators:", dict(sorted(tally.sizes.items())))
    for reason, count in tally.reasons.most_common():
        print(f"{count:6} {reason}")
    print("\n" + ", ".join(f"{name} {count}" for name, count in tally.outcomes.most_common()))
    return 1 if tally.outcomes["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
