"""What the verbs do, said once for both faces: ``labc`` blocks, ``labc.aio`` is awaited.

The classes that do the work inherit these texts: ``help()`` and editors show them at either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any

from labc.directory import Order, Resolve, Scope

OnItem = Callable[[Any], Any]
OnEnd = Callable[[BaseException | None], Any]


class Verbs(ABC):
    """What one can ask the network, and what ``at(...)`` has options for."""

    @abstractmethod
    def at(
        self,
        *,
        timeout: float | None = None,
        find_timeout: float | None = None,
        host: str | None = None,
        node: str | int | None = None,
        retry: int | None = None,
        scope: Scope | None = None,
        perspective: str | None = None,
        resolve: Resolve | None = None,
        order: Order | None = None,
    ) -> Any:
        """The same verbs with options, which never mix with a function's own arguments.

        ``at`` of what it returns adds options to these, or changes them. The functions that are offered there are its
        attributes: ``labc.at(host="computer1").lights.on()`` calls ``lights.on``. ``core.ping`` and the like, which
        every node offers, are asked of all these nodes, as by ``call_all``, unless ``node`` names one.

        Args:
            timeout: seconds until the answer must be there.
            find_timeout: seconds to wait for somebody to offer the name; 0: fail at once.
            host: only there; by name, alias (``aliases`` of the settings) or address.
            node: only this node, by name or id, or by the port at which it takes connections.
            retry: how often to ask again when a provider was lost and the function may have run.
            scope: only what is so near: ``"node"``, ``"group"``, ``"host"``, ``"network"`` (this site) or ``"wan"``
                (all sites, as without it). What is registered or subscribed through it is visible so far, and what is
                published through it is heard so far.
            perspective: the host, or the node, from which it is judged what is near; without, from here.
            resolve: which of several providers answers: the ``"nearest"`` (the default), and among equals the least
                busy, or any: ``"random"`` or ``"round-robin"``.
            order: which scope the nearest is looked for in first: the narrowest, ``"bottom-up"`` (the default), or
                the widest, ``"top-down"``.

        Raises:
            ValueError: a value that can't be meant.
        """

    @abstractmethod
    def get_host(self, host: str, /, *, node: str | int | None = None) -> Any:
        """The same verbs for one host, or one node there: short for ``at(host=..., node=...)``.

        Args:
            host: its name, an alias of the settings, or an address.
            node: by name or id, or by the port at which it takes connections.

        Raises:
            ValueError: a value that can't be meant.
        """

    @abstractmethod
    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function that somebody in the network offers: the nearest, and among equals the least busy.

        Cancelling (Ctrl-C, in a program that blocks) is safe: the provider is told, and cancels its coroutine.

        Returns:
            The result, a new object. Arrays keep shape and dtype, and are read-only.

        Raises:
            NotFoundError: nobody offered it within ``find_timeout``. Nothing ran.
            ArgumentsError: the arguments don't fit the function. It did not run.
            CarryError: an argument, or the result, can't be carried; its place is named.
            CallTimeoutError: no answer within ``timeout``. It may have run, and is cancelled.
            PeerLostError: the provider went away. ``ran`` says what is known.
            OverloadedError: the provider runs ``max_calls`` already. Nothing ran.
            RefusedError: the provider's setting ``access`` does not allow it. Nothing ran.
            RemoteError: the function raised; its traceback is in the notes.
        """

    @abstractmethod
    def call_all(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function at every node that offers it, at the same time.

        Returns:
            One outcome for each node, with its value or its error, sorted by host and node. It takes as long as the
            slowest, at most ``timeout``; a node that is late or lost has that as its error.

        Raises:
            NotFoundError: nobody offered it within ``find_timeout``.
            CarryError: an argument can't be carried.
        """

    @abstractmethod
    def call_publish(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function at one node, and give the same to all the others that offer it, as a message: it runs there,
        and nobody waits for it.

        The others get it when the answer has come; one that does not take it within 5 s is left out.

        Returns:
            The result of the one.

        Raises:
            RemoteError: the function raised there; the others got it all the same.
            LabcError: as ``call`` does; then the others got nothing.
        """

    @abstractmethod
    def publish(self, topic: str, /, *args: Any, retain: bool = False, **kwargs: Any) -> Any:
        """Give a message to all who subscribed to the topic, now; nobody need be there.

        Through ``at(scope=...)``, ``at(host=...)`` or ``at(node=...)`` only nodes so near, or those, get it. It goes to
        each of them directly; a thread is slowed down to their pace, and who has stopped loses the oldest.

        Returns at once, unless a subscriber holds publishers back; then, when all those have taken it. The first
        node of a host waits until half a second after it joined, by when it has found the other hosts. In a thread, who
        publishes large messages (128 KiB) faster than the network takes them waits a little, 0.1 s at most.

        Args:
            args: the values. A handler is called with them, and with all other keywords.
            retain: the topic's last value is also kept, for who subscribes later and for :meth:`last`: as long as this
                host has a root, and this node or the one that is the root now is there. Returns when the root keeps it;
                for one that does not answer it waits a second. No handler gets a keyword of this name.

        Raises:
            NameInvalidError: the topic can't be used.
            CarryError: a value can't be carried.
            CallTimeoutError: a subscriber held it back for ``timeout``.
            OverloadedError: a subscriber that holds publishers back has too many waiting, or the value is larger than
                ``max_retained_bytes``.
            NotFoundError: the host or the node that ``at`` names is not there.
            TypeError: ``retain`` is not True or False.
            ValueError: a value that is not for the whole network can't be retained.
        """

    @abstractmethod
    def last(self, topic: str, /) -> Any:
        """The last value of a topic that was published with ``retain=True``, as a message.

        Waits for nodes that don't answer (stopped, for one) ``timeout`` seconds at most (1 s, without).

        Raises:
            NotFoundError: no value is retained.
            NameInvalidError: the topic can't be used.
        """

    @abstractmethod
    def forget(self, topic: str, /) -> Any:
        """Have the retained value of a topic kept no longer, whoever published it; harmless if there is none.

        Nobody is told. Waits for nodes that don't answer ``timeout`` seconds at most (1 s, without); what these keep
        may come back.

        Raises:
            NameInvalidError: the topic can't be used.
        """

    @abstractmethod
    def nodes(self) -> Any:
        """The nodes of the network, sorted by host and name.

        A node that does not answer within ``timeout`` (5 s, without) is there without its details; who is known to be
        silent is not waited for.
        """

    @abstractmethod
    def functions(self) -> Any:
        """The functions that are offered, sorted by name, each with its signature and where it is.

        Those of a node that does not answer within ``timeout`` (5 s, without) are missing; who is known to be silent is
        not waited for.
        """

    @abstractmethod
    def ping(self) -> Any:
        """Ask the event loop of other nodes for a sign of life: seconds there and back, or what prevented it.

        All nodes, or those that ``at(host=..., node=...)`` names.

        Raises:
            NotFoundError: there is no such node.
        """

    @abstractmethod
    def stream(
        self,
        name: str,
        /,
        *args: Any,
        on_item: OnItem | None = None,
        on_end: OnEnd | None = None,
        latest: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Iterate over what a generator of the network yields, as it comes; ``call`` with its arguments.

        The generator is held back by a slow reader: it is never more than ``stream_items`` values and ``stream_bytes``
        bytes of the settings ahead. It is closed, so that its ``finally`` runs, when the reader stops, by ``break``,
        ``close()`` or dying. ``timeout`` of ``at(...)`` is how long each value may take; without, as long as it likes.

        What the generator raises is raised after the values before it.

        Args:
            on_item: a function that is called with each value, one after the other, in a thread; a coroutine function
                is awaited on the node's loop. When it returns False, that was enough. What it raises is logged.
            on_end: with ``on_item``; called once, with what the stream ended with, or None: all came, or enough.
            latest: let the generator run on, and skip what a slow reader has no time for: it gets the newest value.

        Returns:
            Something to iterate over, with ``close()`` (``aclose()``). With ``on_item`` a handle with ``close()``,
            when somebody was asked (of :mod:`labc.aio`: at once, and ``on_end`` is told if nobody could be).

        Raises:
            NotFoundError: nobody offers the name.
            ArgumentsError: the arguments don't fit.
            RemoteError: it raised.
            PeerLostError: its program was lost. What had arrived before was read.
            CallTimeoutError: no value came within ``timeout``.
        """

    @abstractmethod
    def map(
        self,
        name: str,
        items: Iterable[Any] | AsyncIterable[Any],
        /,
        *,
        ordered: bool = True,
        window: int = 2,
        retry: bool | int = True,
        timeout: float | None = None,
        progress: bool = False,
    ) -> Any:
        """Call a function with each of the items, at all nodes that offer it, each at its own pace.

        Nodes take part as they come, and go, while it runs. The items may be endless: they are read, in a thread, no
        faster than they are worked on, and no further ahead of who reads the outcomes than ``stream_items`` items and
        ``stream_bytes`` bytes of outcomes (of the settings). An item that fails is an outcome, and not the end.

        Args:
            items: an iterable, or an asynchronous one; each of its values is the one argument of a call.
            ordered: give the outcomes in the order of the items; False: as they finish, each as ``(index, outcome)``.
            window: how many items each node is given at a time. With 2, the default, it has the next one when it has
                done with one; but it may run both at once. 1 is for what must not run beside itself.
            retry: whether an item goes to another node when one was lost with it, where it may have run already: three
                times, or as often as this says, whatever ``at(retry=...)`` says. False: it fails with PeerLostError.
                What was not taken by a node that is lost, or takes no more calls, goes on to others in any case.
            timeout: seconds that each item may take; it fails with CallTimeoutError. Without: as long as it takes, or
                what ``at(timeout=...)`` says.
            progress: show a bar on the terminal, with the rate and the share of each node.

        Returns:
            Something to iterate over, with ``close()`` (``aclose()``), which begins now (of :mod:`labc.aio`: with the
            first ``async for``). It gives an `Outcome` for each item: its ``value``, or ``error``; ``node`` and
            ``host`` tell who ran it, and ``result()`` returns the value or raises the error.

        Raises:
            NotFoundError: nobody offers the name; while it runs: nobody any more, for ``find_timeout``.
            RefusedError: all who offer it refuse it, by their rights.
            OverloadedError, PeerLostError: all who offer it take no more calls, or can't be reached, for
                ``find_timeout``.
            Exception: what the items raised, after the outcomes of those before.
        """

    @abstractmethod
    def messages(self, pattern: str, *, queue_size: int | None = None) -> Any:
        """Iterate over the messages of a topic or pattern, as they come.

        When the reader is slower than the messages, the oldest are dropped, and counted in ``dropped``. Through
        ``at(scope=...)`` it reads what is published so near, and nobody farther away knows of it.

        Args:
            pattern: levels between slashes; ``*`` stands for one level, ``**`` for any number.
            queue_size: messages that may wait.

        Raises:
            NameInvalidError: the pattern can't be used; says where the mistake is.
        """


class Face(ABC):
    """What a module has beside that: for the program as a whole."""

    @abstractmethod
    def node_events(self) -> Any:
        """Iterate over what becomes of the other nodes of the network, as :class:`labc.NodeEvent`.

        First it tells ``"joined"`` of each node that is there already. Of each node it tells, in this order and each
        once: ``"joined"``, any number of ``"suspect"`` (it may be lost) with ``"back"`` (it is not), and in the end
        ``"left"`` (it said goodbye) or ``"lost"`` (it was killed, stopped or cut off). One that was lost and can be
        reached again joins again. The node that watches is not among them.

        It ends when this program leaves the network.
        """

    @abstractmethod
    def watch_nodes(self, callback: Any) -> Any:
        """Have a function called with each :class:`labc.NodeEvent`, one after the other; see ``node_events``.

        Joins the network, if this program is not in it, and watches until it leaves, or until the handle's ``close()``.

        Args:
            callback: called in a thread with one event; a coroutine function is awaited on the node's loop. What it
                raises is logged, and it is called with the next event all the same.

        Returns:
            A handle with ``close()``, also for a ``with`` statement.

        Raises:
            TypeError: the callback is no function.
        """

    @abstractmethod
    def init(self, *, name: str | None = None, network: str | None = None, **settings: Any) -> None:
        """Choose the settings of this program's own node, before anything else is done.

        Args:
            name: the node's readable name.
            network: nodes with the same network name find each other.
            settings: any other field of :class:`labc.Settings`.

        Raises:
            SettingsError: a bad setting, or labc is running already.
        """

    @abstractmethod
    def serve(self) -> Any:
        """Offer what is registered until the program is ended by Ctrl-C or SIGTERM, or ``close()`` is called.

        Both leave the network first; after SIGTERM the exit code is 143.

        Under ``labc serve``, and in the processes of ``run="process"``, it returns at once: somebody else serves.
        """

    @abstractmethod
    def close(self) -> Any:
        """Leave the network now, in less than a second, and not at the program's end.

        What runs is cancelled, and calls that wait get an error. Harmless without a running node; the next verb
        joins the network again.
        """
