"""What went over the wire, counted."""

from dataclasses import dataclass


@dataclass(kw_only=True)
class Traffic:
    """Requests and answers of one embedder since it was made.

    ``requests`` counts every attempt, ``responses`` every answer whatever its status, ``retries``
    the attempts after the first and ``throttles`` the answers that asked for fewer; ``texts`` are
    those that got a vector, ``tokens`` what the provider says that it counted.
    """

    requests: int = 0
    responses: int = 0
    retries: int = 0
    throttles: int = 0
    texts: int = 0
    tokens: int = 0
