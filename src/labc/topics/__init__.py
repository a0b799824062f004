"""Many-to-many channels: publish, subscribe, iterate."""

from labc.topics.message import Message, Sender, current_message
from labc.topics.retained import check_retain
from labc.topics.stream import Messages
from labc.topics.subscription import Subscription, WhenFull, make_subscription
from labc.topics.telling import Told
from labc.topics.topics import Published, Topics

__all__ = [
    "Message",
    "Messages",
    "Published",
    "Sender",
    "Subscription",
    "Told",
    "Topics",
    "WhenFull",
    "check_retain",
    "current_message",
    "make_subscription",
]
