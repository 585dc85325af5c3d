"""Everything that is touched of one account, loaded once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.settings import get_current_settings

from blocks.app_database import AppDatabase
from blocks.filled_in import loaded
from blocks.stripe_account import StripeAccount
from blocks.stripe_api import StripeApi
from tasks.stripe.claims import Claims


class Reach:
    """An account with the database of the application that it pays for. No dataclass: Prefect would look into it."""

    def __init__(self, target: str, account: StripeAccount, database: AppDatabase, folder: Path | None = None) -> None:
        """Bring the two together; FOLDER is where files about the target are kept, which nobody else may read."""
        self.target, self.account, self.database = target, account, database
        self.folder = folder or _folder(target)
        self.claims = Claims(database)

    @property
    def resource(self) -> str:
        """Name the thing that leases, holds and events are about."""
        return f"recovery.stripe.{self.target}"

    @property
    def accounts(self) -> tuple[str, ...]:
        """Name our own account and those that are connected to it."""
        return (self.account.account, *self.account.connected_accounts)

    def api(self, account: str) -> StripeApi:
        """Speak to Stripe for one of the accounts."""
        return StripeApi(self.account, on_behalf_of="" if account == self.account.account else account)

    @contextmanager
    def apis(self) -> Iterator[dict[str, StripeApi]]:
        """Speak to Stripe for all of them."""
        found = {account: self.api(account) for account in self.accounts}
        try:
            yield found
        finally:
            for each in found.values():
                each.__exit__()


def reach(target: str) -> Reach:
    """Load the blocks of TARGET, or say which one is missing."""
    account = loaded(StripeAccount, target)
    database = loaded(AppDatabase, account.database)
    return Reach(target, account, database)


def _folder(target: str) -> Path:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", target)
    return get_current_settings().home.expanduser() / "salvor" / "stripe" / name
