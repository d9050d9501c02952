"""Shares: the parts that sessions have of what a volume may use in a second."""

from __future__ import annotations

from dataclasses import dataclass

from forebay.index.part import Part

#: The demand of who takes all that there is.
ALL = -1.0


@dataclass(frozen=True)
class Share:
    """A session's part.

    Attributes:
        granted: how much a second it may use from now on.
        fair: how much it will be when the others have given up what they have to.
    """

    granted: float
    fair: float


class Shares(Part):
    """The shares of one volume's sessions."""

    def renew(self, session: str, what: str, limit: float, demand: float) -> Share:
        """Renews a session's part. What it is granted holds until it is renewed, or the session ends.

        Args:
            what: is shared.
            limit: what all sessions may use together in a second.
            demand: what this one asks for; `ALL` for all that there is, 0 to give its part back.

        Raises:
            SessionLostError: the session has been reaped, and its part with it.
        """
        k = self._keys
        answer = self._script("share_renew", [k.shares, k.sessions], [session, what, limit, f"{demand:.3f}"])
        return Share(*map(float, answer))
