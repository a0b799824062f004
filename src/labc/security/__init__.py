"""Networks with a key: who is a member, how one becomes one, and what proves it.

Nothing here is needed to run in a keyed network but its files; the library ``cryptography`` (``pip install
labc[security]``) is needed to make a network, to join one, and to take a new list of its members.
"""

from labc.security.credentials import Credentials, credentials_of, memberships

__all__ = ["Credentials", "credentials_of", "memberships"]
