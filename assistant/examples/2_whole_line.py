"""Read a ledger of payments from a CSV file and say who owes what."""

import argparse
import csv
import sys
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path


@dataclass(frozen=True)
class Payment:
    day: date
    payer: str
    amount: Decimal
    purpose: str = ""


def read_payments(path: Path) -> list[Payment]:
    payments = []
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            payment = Payment(
                day=date.fromisoformat(row["day"]),
                payer=row["payer"],
                <CURSOR>
                purpose=row["purpose"],
            )
            payments.append(payment)
    return payments


def balances(payments: list[Payment]) -> dict[str, Decimal]:
    """What everybody paid above the average; negative for those who owe."""
    paid: dict[str, Decimal] = defaultdict(Decimal)
    for payment in payments:
        paid[payment.payer] += payment.amount
    share = sum(paid.values()) / len(paid)
    return {payer: amount - share for payer, amount in paid.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ledger", type=Path)
    args = parser.parse_args()
    for payer, balance in sorted(balances(read_payments(args.ledger)).items()):
        print(f"{payer:20} {balance:10.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
