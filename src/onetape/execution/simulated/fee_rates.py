"""What US regulators charge on sales of equities, by the date from which it holds.

The ratio of the proceeds is the fee of section 31 of the Securities Exchange Act; each row is a Fee
Rate Advisory of the Securities and Exchange Commission (SEC), the date its "charge date". The rate
a share and its maximum a trade are the Trading Activity Fee (TAF) for covered equity securities:
FINRA By-Laws, Schedule A, section 1. As of November 2026.

| since      | source                                                                             |
| ---------- | ---------------------------------------------------------------------------------- |
| 2001-12-28 | SEC advisories FY 2002-2006 (section 31); 1/300 of 1 % before, by statute          |
| 2002-10-01 | NASD Special Notice 02-63 and its adjustment of October 2002 (TAF)                 |
| 2004-11-01 | NASD Notice 04-84 (TAF)                                                            |
| 2007-03-17 | SEC 2006-194: 30 days after the appropriation                                      |
| 2008-01-25 | SEC 2007-89: 30 days after the appropriation                                       |
| 2008-04-01 | FINRA Information Notice 3/10/08                                                   |
| 2009-04-10 | SEC advisory FY 2009: 30 days after the appropriation                              |
| 2010-01-15 | SEC 2009-270                                                                       |
| 2010-04-01 | FINRA Information Notice 3/10/10                                                   |
| 2011-01-21 | SEC 2010-255                                                                       |
| 2011-07-01 | FINRA Notice 11-27 (TAF)                                                           |
| 2012-02-21 | SEC advisory 5 of FY 2012                                                          |
| 2012-03-01 | FINRA Notice 12-06 (TAF)                                                           |
| 2012-04-01 | SEC advisory FY 2012, mid-year                                                     |
| 2012-07-01 | 77 FR 27527 (TAF)                                                                  |
| 2013-05-25 | SEC advisory FY 2013: 60 days after the appropriation                              |
| 2014-03-18 | FINRA Information Notice 3/3/14                                                    |
| 2015-02-14 | SEC advisory FY 2015: 60 days after the appropriation                              |
| 2016-02-16 | 81 FR 1458                                                                         |
| 2017-07-04 | SEC advisory FY 2017                                                               |
| 2018-05-22 | FINRA Information Notice 5/7/18                                                    |
| 2019-04-16 | SEC advisory 2 of FY 2019                                                          |
| 2020-02-18 | FINRA Information Notice 2/3/20                                                    |
| 2021-02-25 | SEC 2021-8                                                                         |
| 2022-01-01 | SR-FINRA-2020-032, fee increase schedule (TAF; also 2023 and 2024)                 |
| 2022-05-14 | SEC advisory FY 2022: 60 days after the appropriation                              |
| 2023-02-27 | 88 FR 5051                                                                         |
| 2024-05-22 | 89 FR 29402                                                                        |
| 2025-05-14 | 90 FR 15492                                                                        |
| 2026-01-01 | SR-FINRA-2024-019 (TAF)                                                            |
| 2026-04-04 | 91 FR 10643                                                                        |
"""

from __future__ import annotations

import msgspec


class SaleRates(msgspec.Struct, frozen=True):
    """What a sale pays from a date (`since`, ISO) on.

    `notional_ratio` of the proceeds, and `share_rate` a share but at most `share_maximum` a trade
    (currency).
    """

    since: str
    notional_ratio: str
    share_rate: str
    share_maximum: str


US_EQUITY_SALES = (
    SaleRates("1970-01-01", "0.00003334", "0", "0"),
    SaleRates("2001-12-28", "0.000015", "0", "0"),
    SaleRates("2002-04-01", "0.0000301", "0", "0"),
    SaleRates("2002-10-01", "0.0000301", "0.0001", "10"),
    SaleRates("2003-03-22", "0.0000252", "0.0001", "10"),
    SaleRates("2003-04-01", "0.0000468", "0.0001", "10"),
    SaleRates("2004-02-22", "0.000039", "0.0001", "10"),
    SaleRates("2004-04-01", "0.0000234", "0.0001", "10"),
    SaleRates("2004-11-01", "0.0000234", "0.000075", "3.75"),
    SaleRates("2005-01-07", "0.0000329", "0.000075", "3.75"),
    SaleRates("2005-04-01", "0.0000418", "0.000075", "3.75"),
    SaleRates("2005-12-22", "0.0000307", "0.000075", "3.75"),
    SaleRates("2007-03-17", "0.0000153", "0.000075", "3.75"),
    SaleRates("2008-01-25", "0.000011", "0.000075", "3.75"),
    SaleRates("2008-04-01", "0.0000056", "0.000075", "3.75"),
    SaleRates("2009-04-10", "0.0000257", "0.000075", "3.75"),
    SaleRates("2010-01-15", "0.0000127", "0.000075", "3.75"),
    SaleRates("2010-04-01", "0.0000169", "0.000075", "3.75"),
    SaleRates("2011-01-21", "0.0000192", "0.000075", "3.75"),
    SaleRates("2011-07-01", "0.0000192", "0.00009", "4.5"),
    SaleRates("2012-02-21", "0.000018", "0.00009", "4.5"),
    SaleRates("2012-03-01", "0.000018", "0.000095", "4.75"),
    SaleRates("2012-04-01", "0.0000224", "0.000095", "4.75"),
    SaleRates("2012-07-01", "0.0000224", "0.000119", "5.95"),
    SaleRates("2013-05-25", "0.0000174", "0.000119", "5.95"),
    SaleRates("2014-03-18", "0.0000221", "0.000119", "5.95"),
    SaleRates("2015-02-14", "0.0000184", "0.000119", "5.95"),
    SaleRates("2016-02-16", "0.0000218", "0.000119", "5.95"),
    SaleRates("2017-07-04", "0.0000231", "0.000119", "5.95"),
    SaleRates("2018-05-22", "0.000013", "0.000119", "5.95"),
    SaleRates("2019-04-16", "0.0000207", "0.000119", "5.95"),
    SaleRates("2020-02-18", "0.0000221", "0.000119", "5.95"),
    SaleRates("2021-02-25", "0.0000051", "0.000119", "5.95"),
    SaleRates("2022-01-01", "0.0000051", "0.00013", "6.49"),
    SaleRates("2022-05-14", "0.0000229", "0.00013", "6.49"),
    SaleRates("2023-01-01", "0.0000229", "0.000145", "7.27"),
    SaleRates("2023-02-27", "0.000008", "0.000145", "7.27"),
    SaleRates("2024-01-01", "0.000008", "0.000166", "8.3"),
    SaleRates("2024-05-22", "0.0000278", "0.000166", "8.3"),
    SaleRates("2025-05-14", "0", "0.000166", "8.3"),
    SaleRates("2026-01-01", "0", "0.000195", "9.79"),
    SaleRates("2026-04-04", "0.0000206", "0.000195", "9.79"),
)
"""SEC and TAF together; what began later is 0 before. 1/300 of 1 % is rounded up to 1e-8."""
