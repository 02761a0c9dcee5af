#!/usr/bin/env bash
# The main job on real market data: import daily bars, run a backtest, write its report.
# The bars are raw; the vendor's adjusted close takes splits and dividends out at the import.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"

# The catalog of an earlier demo would hold the same bars; start from nothing instead.
rm -rf data/demo-csv data/demo-catalog
python scripts/write_demo_csv.py data/demo-csv AAPL IBM MSFT GOOG

for instrument in AAPL.XNAS IBM.XNYS MSFT.XNAS GOOG.XNAS; do
    onetape data import "data/demo-csv/${instrument%.*}.csv" --instrument "$instrument" \
        --timeframe 1d --tz America/New_York --calendar hours:America/New_York:09:30-16:00 \
        --tick 0.0001 --adjust-by "Adj Close" --catalog data/demo-catalog
done

onetape backtest examples/sma_cross.yaml
