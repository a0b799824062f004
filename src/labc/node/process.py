"""What belongs to the whole process: its registrations, its running nodes, and what a fork does to them."""

from __future__ import annotations

import os
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from labc.errors import ForkedError
from labc.functions import Registration, in_pool
from labc.registry import Registry
from labc.topics import Subscription

if TYPE_CHECKING:
    from labc.node.node import Node


class Process:
    """There is one, :data:`process`."""

    def __init__(self) -> None:
        self.functions: Registry[Registration[..., Any]] = Registry()
        self.subscriptions: Registry[Subscription[..., Any]] = Registry()
        self.nodes: list[Node] = []
        self.owner: Node | None = None
        """The node that offers what the program registered without naming one."""
        self.serving_is_handled = False
        """Whether somebody else keeps the program alive (``labc serve``), so that ``serve()`` returns at once."""
        self._used = False
        self._forked = False
        self._current: ContextVar[Node] = ContextVar("labc_current_node")

    def started(self, node: Node) -> None:
        self._used = True
        self._drop_dead()
        self.nodes.append(node)
        if self.owner is None and not in_pool():  # a process of a pool offers nothing itself
            self.owner = node

    def stopped(self, node: Node) -> None:
        if node in self.nodes:
            self.nodes.remove(node)
        if self.owner is node:
            self.owner = None
            self.functions.detach()
            self.subscriptions.detach()

    def enter(self, node: Node) -> None:
        """What runs in this context from here on works through this node."""
        self._current.set(node)

    def node(self) -> Node | None:
        """The node for verbs that name none: the one whose function or handler this is, else the first that runs."""
        current = self._current.get(None)
        if current is None:
            first = next(iter(self.nodes), None)  # which another thread may be about to remove
            if first is not None and first.opened and not first.dead:
                return first
        self._drop_dead()
        if current is not None and current in self.nodes:
            return current
        return next((node for node in self.nodes if node.opened), None)

    def _drop_dead(self) -> None:
        """Nodes that were left open when the event loop under them ended."""
        for node in [node for node in self.nodes if node.dead]:
            self.stopped(node)

    def check_not_forked(self) -> None:
        """Raises ForkedError."""
        if self._forked:
            raise ForkedError

    def after_fork(self) -> None:
        """In the child. The engine's threads are not here, and it can't be started anew after it ran once."""
        if not self._used:
            return
        self._forked = True
        for node in self.nodes:
            node.abandon()
        self.nodes = []
        self.owner = None
        self.functions.forget_listener()
        self.subscriptions.forget_listener()


process = Process()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=process.after_fork)
