"""``labc call``: arguments in, results out, and what happens when it goes wrong."""

from __future__ import annotations
