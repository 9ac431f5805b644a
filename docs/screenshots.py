"""Make the pictures of the documentation from the runs under results/measured/.

python docs/screenshots.py      docs/report.png (needs Chromium and the extra `report`) and docs/terminal.svg
"""

import shutil
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console

from bench import report
from bench.measured_tables import MEASURED, REPOSITORY, first_run_tables

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SHOWN = "find=mnist/augment"
"""the selection of the page, as its address writes it"""
WIDTH, HEIGHT = 1180, 1290
COLUMNS = 128


def main() -> None:
    terminal(REPOSITORY / "docs" / "terminal.svg")
    page(REPOSITORY / "docs" / "report.png")


def terminal(path: Path) -> None:
    """What the first run prints at its end."""
    console = Console(file=StringIO(), record=True, width=COLUMNS)
    for table in first_run_tables(MEASURED):
        console.print(table.rich())
    path.write_text(console.export_svg(title="accelerate launch bench/run.py"), encoding="utf-8")


def page(path: Path) -> None:
    """The top of the page of measured runs. ValueError without a browser."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise ValueError(f"the page is drawn by one of {', '.join(BROWSERS)}: install Chromium")
    with tempfile.TemporaryDirectory() as folder:
        report.main([str(MEASURED), "-o", folder])
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=10000"]
        size = f"--window-size={WIDTH},{HEIGHT}"
        subprocess.run(  # noqa: S603  a browser that was found on the path
            [browser, *options, size, f"--screenshot={path}", f"file://{folder}/index.html#{SHOWN}"], check=True
        )


if __name__ == "__main__":
    main()
