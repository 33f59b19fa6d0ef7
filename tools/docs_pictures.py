"""Make the pictures of the documentation again, by the commands of its pages.

    python -m tools.docs_pictures                      all pages that show one
    python -m tools.docs_pictures cookbook/audio.md    only these

A picture is made where the test finds that it differs: after a change of how it is drawn. Look at it before it is kept.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from tests.helpers.pages import DOCS, PAGES, made, pictures, run_page


def main() -> None:
    """Run the pages, and copy what they made over the pictures in docs/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="such as cookbook/audio.md [default: all]")
    for page in parser.parse_args().pages or [page for page in PAGES if pictures(page)]:
        with tempfile.TemporaryDirectory() as folder:
            run_page(page, Path(folder))
            for shown, pattern in pictures(page):
                shutil.copy(made(Path(folder), pattern), shown)
                print(f"{page}: {shown.relative_to(DOCS)}")


if __name__ == "__main__":
    main()
