"""Lab-Commander: the computers of a lab, a workshop or a robot as one program.

::

    import labc

    @labc.register
    def echo(arg):
        return arg

    labc.serve()

and in any other program, on this computer or another one of the network::

    import labc

    print(labc.call("echo", "Hello World!"))

These verbs block; :mod:`labc.aio` has the same ones as coroutines.
"""

from labc import aio
from labc.blocking import (
    BlockingMessages,
    BlockingVerbs,
    at,
    call,
    call_all,
    call_publish,
    close,
    forget,
    functions,
    get_host,
    here,
    init,
    last,
    localhost,
    map,
    messages,
    network,
    node_events,
    nodes,
    ping,
    publish,
    register,
    serve,
    stream,
    subscribe,
    watch_nodes,
)
from labc.directory import NodeEvent
from labc.errors import (
    ArgumentsError,
    BlockingCallError,
    CallTimeoutError,
    CarryError,
    ClosedError,
    FabricError,
    FilesError,
    ForkedError,
    HandshakeError,
    InvitationError,
    LabcError,
    MembershipError,
    NameInvalidError,
    NotFoundError,
    OutsideError,
    OverloadedError,
    PeerLostError,
    ProtocolError,
    RefusedError,
    RemoteError,
    SettingsError,
)
from labc.eventstreams import BlockingNodeEvents
from labc.functions import CallContext, Incoming, Outcome, Outgoing, Registration, current_call, outgoing
from labc.node import (
    AsyncAt,
    DiskUsage,
    FileInfo,
    FunctionInfo,
    Map,
    Node,
    NodeEvents,
    NodeInfo,
    NodeWatch,
    RemoteFunction,
    ShareInfo,
    Stream,
    StreamWatch,
    file_checksum,
)
from labc.settings import Settings
from labc.streams import BlockingMap, BlockingStream
from labc.topics import Message, Messages, Sender, Subscription, current_message
from labc.version import __version__
from labc.wire import Record

__all__ = [
    "ArgumentsError",
    "AsyncAt",
    "BlockingCallError",
    "BlockingMap",
    "BlockingMessages",
    "BlockingNodeEvents",
    "BlockingStream",
    "BlockingVerbs",
    "CallContext",
    "CallTimeoutError",
    "CarryError",
    "ClosedError",
    "DiskUsage",
    "FabricError",
    "FileInfo",
    "FilesError",
    "ForkedError",
    "FunctionInfo",
    "HandshakeError",
    "Incoming",
    "InvitationError",
    "LabcError",
    "Map",
    "MembershipError",
    "Message",
    "Messages",
    "NameInvalidError",
    "Node",
    "NodeEvent",
    "NodeEvents",
    "NodeInfo",
    "NodeWatch",
    "NotFoundError",
    "Outcome",
    "Outgoing",
    "OutsideError",
    "OverloadedError",
    "PeerLostError",
    "ProtocolError",
    "Record",
    "RefusedError",
    "Registration",
    "RemoteError",
    "RemoteFunction",
    "Sender",
    "Settings",
    "SettingsError",
    "ShareInfo",
    "Stream",
    "StreamWatch",
    "Subscription",
    "__version__",
    "aio",
    "at",
    "call",
    "call_all",
    "call_publish",
    "close",
    "current_call",
    "current_message",
    "file_checksum",
    "forget",
    "functions",
    "get_host",
    "here",
    "init",
    "last",
    "localhost",
    "map",
    "messages",
    "network",
    "node_events",
    "nodes",
    "outgoing",
    "ping",
    "publish",
    "register",
    "serve",
    "stream",
    "subscribe",
    "watch_nodes",
]
