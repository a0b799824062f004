"""The wire protocol of a lane as a pure state machine: bytes in, events out; no sockets, clocks or threads."""

from labc.wire.codec import Body, decode, encode
from labc.wire.conversation import Conversation
from labc.wire.events import (
    Broken,
    Cancelled,
    Credited,
    Ended,
    Event,
    Failed,
    GoodbyeReceived,
    Greeted,
    Item,
    Ponged,
    Refused,
    Replied,
    Requested,
)
from labc.wire.extensions import Buffer, Extension, register
from labc.wire.failures import Failure
from labc.wire.frames import MAX_ID
from labc.wire.greeting import AWAY, ONE_WAY, Greeting, check
from labc.wire.heartbeat import Action, Heartbeat
from labc.wire.items import HEADER as ITEMS_HEADER
from labc.wire.items import count_items, decode_items, encode_items
from labc.wire.lowering import StreamSource
from labc.wire.messages import Request, decode_arguments, decode_many, encode_arguments, encode_many
from labc.wire.records import Record
from labc.wire.window import Window

__all__ = [
    "AWAY",
    "ITEMS_HEADER",
    "MAX_ID",
    "ONE_WAY",
    "Action",
    "Body",
    "Broken",
    "Buffer",
    "Cancelled",
    "Conversation",
    "Credited",
    "Ended",
    "Event",
    "Extension",
    "Failed",
    "Failure",
    "GoodbyeReceived",
    "Greeted",
    "Greeting",
    "Heartbeat",
    "Item",
    "Ponged",
    "Record",
    "Refused",
    "Replied",
    "Request",
    "Requested",
    "StreamSource",
    "Window",
    "check",
    "count_items",
    "decode",
    "decode_arguments",
    "decode_items",
    "decode_many",
    "encode",
    "encode_arguments",
    "encode_items",
    "encode_many",
    "register",
]
