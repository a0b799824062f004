"""Functions of the network: register them here, call them anywhere."""

from labc.functions.caller import Caller, Detour
from labc.functions.context import CallContext, current_call, find_current_call
from labc.functions.execution import CallCounts
from labc.functions.inbox import EndOfStream, Inbox, WaitedLongEnoughError
from labc.functions.incoming import Incoming
from labc.functions.options import Options
from labc.functions.outcomes import Outcome, Outcomes
from labc.functions.outgoing import Outgoing, outgoing
from labc.functions.processes import being_spawned, in_pool
from labc.functions.provider import Provider
from labc.functions.receiving import Receiver
from labc.functions.registration import Registration, Run, make_registration
from labc.functions.schedule import Schedule
from labc.functions.spreading import Items

__all__ = [
    "CallContext",
    "CallCounts",
    "Caller",
    "Detour",
    "EndOfStream",
    "Inbox",
    "Incoming",
    "Items",
    "Options",
    "Outcome",
    "Outcomes",
    "Outgoing",
    "Provider",
    "Receiver",
    "Registration",
    "Run",
    "Schedule",
    "WaitedLongEnoughError",
    "being_spawned",
    "current_call",
    "find_current_call",
    "in_pool",
    "make_registration",
    "outgoing",
]
