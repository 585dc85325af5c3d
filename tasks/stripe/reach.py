"""Everything that is touched of one account, loaded once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

from prefect.blocks.core import Block
from prefect.settings import get_current_settings

from blocks.app_database import AppDatabase
from blocks.errors import Misconfigured
from blocks.filled_in import wrong_fields
from blocks.stripe_account import StripeAccount
from blocks.stripe_api import StripeApi
from tasks.stripe.claims import Claims

B = TypeVar("B", bound=Block)


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
    account = _load(StripeAccount, target)
    database = _load(AppDatabase, account.database)
    return Reach(target, account, database)


def _folder(target: str) -> Path:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", target)
    return get_current_settings().home.expanduser() / "salvor" / "stripe" / name


def _load(kind: type[B], name: str) -> B:
    try:
        return cast("B", kind.load(name))
    except ValueError as error:
        what = kind._block_type_name  # noqa: SLF001 - as the UI calls it
        raise Misconfigured(
            f"There is no block {name} of the type {what}: create it under Blocks in the Prefect UI, or correct"
            " the name."
        ) from error
    except RuntimeError as error:
        if wrong := wrong_fields(error):
            raise Misconfigured(
                f"The block {name} is not filled in right ({wrong}): correct it under Blocks in the Prefect UI."
            ) from error
        raise
