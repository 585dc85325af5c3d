"""The patient: `python -m tests.lab up`; in another terminal `status`, `break`, `break-disaster`, `blocks`, `down`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable

from tests.lab import disaster, teardown
from tests.lab.account import place
from tests.lab.app import App
from tests.lab.cluster import Lab
from tests.lab.plane import tell_plane_address
from tests.lab.pointer import HOME, POINTER, pointing, running

Break = Callable[[Lab, str, str], object]
BREAKS: dict[str, Break] = {
    "kill-node": lambda lab, node, _: lab.kill_node(node),
    "kill-postmaster": lambda lab, node, _: lab.kill_postmaster(node),
    "power-off": lambda lab, node, _: lab.kill_node(node, host=False),
    "power-on": lambda lab, node, _: lab.revive_host(node),
    "start": lambda lab, node, _: lab.nodes[node].start(),
    "freeze": lambda lab, node, _: lab.freeze(node),
    "thaw": lambda lab, node, _: lab.thaw(node),
    "cut": lambda lab, node, more: lab.cut(node, more or "salvor"),
    "mend": lambda lab, node, more: lab.mend(node, more or None),
    "lag": lambda lab, node, more: lab.lag(node, more or "pause"),  # type: ignore[arg-type]
    "unlag": lambda lab, node, _: lab.unlag(node, lab.primary()),
    "diverge": lambda lab, node, _: lab.diverge(node),
    "fill-disk": lambda lab, node, _: lab.fill_disk(node),
    "free-disk": lambda lab, node, _: lab.free_disk(node),
    "remove-wal": lambda lab, node, _: lab.remove_wal(node),
    "destroy": lambda lab, node, _: lab.destroy(node),
    "pooler-down": lambda lab, _, __: lab.pooler_down(),
    "pooler-up": lambda lab, _, __: lab.pooler_up(),
}


def main() -> int:
    """Do what the command line says."""
    given = _arguments()
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "up": up,
        "down": down,
        "status": status,
        "blocks": save_blocks,
        "break": break_it,
        "break-disaster": break_all,
    }
    return actions[given.action](given)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    bring_up = actions.add_parser("up", help="bring the patient up and let its shop write, until Ctrl-C or `down`")
    bring_up.add_argument("--nodes", type=int, default=3)
    bring_up.add_argument("--async", dest="sync", action="store_false", help="no commit waits for a standby")
    bring_up.add_argument("--no-pooler", dest="pooler", action="store_false", help="libpq multi-host instead")
    actions.add_parser("down", help="end it and remove every trace")
    actions.add_parser("status", help="say who is primary and who streams")
    save = actions.add_parser("blocks", help="save its blocks in the control plane, or at PREFECT_API_URL")
    save.add_argument("--ledger", default=None, help="file or SQLAlchemy URL of the ledger")
    actions.add_parser("break-disaster", help="destroy every node and its data; the backups stay")
    breaking = actions.add_parser("break", help="let something befall a node")
    breaking.add_argument("what", choices=sorted(BREAKS))
    breaking.add_argument("node", nargs="?", default="", help="default: the primary")
    breaking.add_argument("more", nargs="?", default="", help="cut/mend: salvor, standbys, clients, a standby, all")
    return parser.parse_args()


def up(given: argparse.Namespace) -> int:
    """Bring the lab up and keep it until Ctrl-C, SIGTERM or `down`."""
    if running():
        print(f"A lab is already up in {running()}; `python -m tests.lab down` ends it.", file=sys.stderr)
        return 1
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    root = place(HOME)
    lab = Lab(root, given.nodes, sync=given.sync, pooler=given.pooler)
    with lab, App(lab) as app, pointing(root):
        app.await_writes(1)
        print(introduction(lab))
        print(make_known(lab), flush=True)
        while root.exists() and not done.wait(1):
            _show(lab, app)
    print("\nThe lab is gone.")
    return 0


def introduction(lab: Lab) -> str:
    """Say what is up and how to reach it."""
    route = "through PgBouncer" if lab.pooler else "by libpq multi-host (PgBouncer is not installed or not wanted)"
    lines = [
        f"PostgreSQL 18 runs as `{lab.account.name}` in {lab.root}",
        *(f"  {name}  {node.host}:{node.port}" for name, node in lab.nodes.items()),
        f"A shop writes orders {route}: {lab.dsn()}",
        f"Break it: python -m tests.lab break {{{','.join(sorted(BREAKS))}}} [node] [more]",
    ]
    return "\n".join(lines)


def make_known(lab: Lab) -> str:
    """Save the blocks where `make up` runs, unless somebody has a real cluster under the lab's name; say so."""
    if not tell_plane_address():
        return "There is no control plane: after `make up`, `python -m tests.lab blocks` makes this lab known to it."
    # Only now: Prefect reads its settings, those of the plane, when it is imported.
    from tests.lab.blocks import CLUSTER, LEDGER, is_real  # noqa: PLC0415

    if is_real(CLUSTER):
        return f"The block {CLUSTER} is a cluster of your own, so it was left alone: this lab is not known to Salvor."
    for name, block in lab.blocks(activity=True):
        if name != LEDGER:
            block.save(name, overwrite=True)
    return f"Salvor knows it as `{CLUSTER}`, the target of its procedures."


def _show(lab: Lab, app: App) -> None:
    if not sys.stdout.isatty():
        return
    journal = app.journal()
    rate = app.acknowledged_after(app.now() - 1)
    line = f"{len(journal.acks)} orders acknowledged, {rate}/s; primary {', '.join(lab.primaries()) or 'none'}"
    print(f"\r\x1b[K{line}", end="", flush=True)


def _attached() -> Lab:
    root = running()
    if root is None:
        sys.exit("No lab is up; `python -m tests.lab up` brings one up.")
    return Lab.attach(root)


def down(_: argparse.Namespace) -> int:
    """End the lab."""
    root = running()
    if root is not None:
        teardown.remove(root)
    POINTER.unlink(missing_ok=True)
    print("The lab is gone." if root else "No lab was up.")
    return 0


def status(_: argparse.Namespace) -> int:
    """Say how every node is."""
    lab = _attached()
    print(introduction(lab))
    for name, node in lab.nodes.items():
        role = {True: "standby", False: "primary", None: "does not answer"}[node.in_recovery()]
        print(f"  {name}: {role}" + (f", streams to {', '.join(lab.streaming(name))}" if role == "primary" else ""))
    return 0


def save_blocks(given: argparse.Namespace) -> int:
    """Save the lab's blocks."""
    lab = _attached()
    if given.ledger is None and tell_plane_address():
        print(make_known(lab))
        return 0
    for name, block in lab.blocks(given.ledger):
        block.save(name, overwrite=True)
        print(f"{block.get_block_type_slug()}/{name}")
    return 0


def break_it(given: argparse.Namespace) -> int:
    """Let something befall a node."""
    lab = _attached()
    needs_node = not given.what.startswith("pooler")
    node = given.node or (lab.primary() if needs_node else "")
    found = BREAKS[given.what](lab, node, given.more)
    print(f"{given.what} {node} {given.more}".strip() + (f": {found}" if isinstance(found, str | int) else ""))
    return 0


def break_all(_: argparse.Namespace) -> int:
    """Let every node and its data be lost."""
    try:
        print("\n".join(disaster.strike(_attached())))
    except LookupError as error:
        print(error, file=sys.stderr)
        return 1
    print(disaster.WHAT_NOW)
    return 0


if __name__ == "__main__":
    sys.exit(main())
