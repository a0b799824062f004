"""Many-to-many channels: publish, subscribe, iterate."""

from labc.topics.message import Message, Sender, current_message
from labc.topics.stream import Messages
from labc.topics.subscription import Subscription, WhenFull, make_subscription
from labc.topics.telling import Told
from labc.topics.topics import Topics

__all__ = [
    "Message",
    "Messages",
    "Sender",
    "Subscription",
    "Told",
    "Topics",
    "WhenFull",
    "current_message",
    "make_subscription",
]
