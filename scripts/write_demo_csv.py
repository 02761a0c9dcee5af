"""Write the daily stock bars inside the package bokeh-sampledata as one CSV file per symbol.

Usage: write_demo_csv.py FOLDER SYMBOL...
"""

from __future__ import annotations

import csv
import gzip
import sys
from pathlib import Path

from bokeh_sampledata import package_path


def main(folder: Path, symbols: list[str]) -> None:
    """Write `FOLDER/SYMBOL.csv` for each symbol: the columns behind the ticker, as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(package_path("stocks.csv.gz"), "rt", encoding="utf-8", newline="") as stocks:
        header, *rows = csv.reader(stocks)
    for symbol in symbols:
        with (folder / f"{symbol}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header[1:])
            writer.writerows(row[1:] for row in rows if row[0] == symbol)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
