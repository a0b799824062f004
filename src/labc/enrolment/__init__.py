"""How a host becomes a member of a keyed network: the one that made it invites, another one joins."""

from labc.enrolment.inviting import Joined, invite
from labc.enrolment.joining import join

__all__ = ["Joined", "invite", "join"]
