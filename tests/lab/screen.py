"""What the demo says on a terminal: calm lines with their seconds, and one line at the bottom that changes."""

from __future__ import annotations

import os
import sys
import textwrap
import time

CLEAR = "\r\x1b[K"
BAR = 24
WIDTH = 100


class Screen:
    """Lines that stay, and on a terminal a status line below them."""

    def __init__(self) -> None:
        """Find out whether there is a terminal, and whether it wants colours."""
        self.live = sys.stdout.isatty()
        self.colours = self.live and "NO_COLOR" not in os.environ
        self.began = time.time()
        self._status = ""

    def title(self, text: str) -> None:
        """Begin a part."""
        self.line(f"\n{self.paint(text, '1')}")

    def line(self, text: str = "") -> None:
        """Write a line that stays."""
        print(f"{CLEAR if self._status else ''}{text}", flush=True)
        if self._status:
            print(self._status, end="", flush=True)

    def note(self, text: str) -> None:
        """Write a line with the seconds since the demo began."""
        self.line(_wrapped(f"{time.time() - self.began:7.1f} s   ", text))

    def moment(self, seconds: float, text: str) -> None:
        """Write a line with the seconds since the primary died."""
        self.line(_wrapped(f"{seconds:+7.2f} s   ", text))

    def row(self, name: str, value: str, remark: str = "", colour: str = "0") -> None:
        """Write one line of the account."""
        text = _wrapped(f"  {name:14}  ", f"{value}{'   ' if remark else ''}{remark}")
        self.line(text.replace(value, self.paint(value, colour), 1))

    def status(self, text: str, percent: float | None = None) -> None:
        """Change the line at the bottom; nothing without a terminal."""
        if not self.live:
            return
        done = "" if percent is None else f"[{'#' * round(percent / 100 * BAR):{BAR}}] "
        self._status = self.paint(f"  {done}{text}"[:WIDTH], "2")
        print(f"{CLEAR}{self._status}", end="", flush=True)

    def clear(self) -> None:
        """Take the line at the bottom away."""
        if self._status:
            self._status = ""
            print(CLEAR, end="", flush=True)

    def paint(self, text: str, code: str) -> str:
        """Colour TEXT where that is wanted."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours else text


def _wrapped(head: str, text: str) -> str:
    return textwrap.fill(f"{head}{text}", WIDTH, subsequent_indent=" " * len(head), break_long_words=False)
