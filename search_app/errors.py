"""Every error of the product. Catch a branch, never a driver's own exception.

UnmovedError
├── ConfigurationError          a setting is missing, contradictory or unreadable
├── InvalidInputError           a request that cannot be meant; the message says what to write
│   ├── NotFoundError           a collection, document, run or index that is not there
│   ├── NotPermittedError       whoever asks may not do it
│   ├── CheckUnderWayError      another check of the same index has not ended
│   └── TooLargeError           more bytes than the settings let in
├── SourceError                 one document cannot be read; the rest of the ingest goes on
│   └── SourceGoneError         its server says that it is not there any more
├── ParsingUnavailableError     the processes that parse files cannot be started
├── EmbedderError
│   ├── EmbedderUnavailableError    no answer: network, time-out, 5xx, rate limit
│   ├── EmbedderRefusedError        an answer that is no: key, model name, request
│   ├── EmbedderResponseError       an answer that cannot be used: count, shape, NaN, zero
│   └── ModelMismatchError          another model answered than the one of the index
├── SpentUpError                no more may be sent to a model; what was done so far stands
├── DegradedSearchError             a search left out what was to be compared or measured
├── RerankerError                   costs a search its reranking, not its hits
│   ├── RerankerUnavailableError    no answer: network, time-out, 5xx, rate limit
│   ├── RerankerRefusedError        an answer that is no: key, model name, request
│   └── RerankerResponseError       an answer that cannot be used: count, NaN, no number
├── GeneratorError              no answer was written; the passages stand
│   ├── GeneratorUnavailableError   no answer: network, time-out, 5xx, rate limit
│   ├── GeneratorRefusedError       an answer that is no: key, model name, request
│   └── GeneratorResponseError      an answer that cannot be used: broken off, empty
├── StoreError
│   ├── StoreUnavailableError       unreachable; never to be read as empty
│   └── StoreRefusedError           reachable, and says no: schema, space, dimension
├── AlertNotSentError           nobody took an alert; it is tried again
├── BackupError                 a backup cannot be made, or is damaged; names the file
└── CatalogError
    ├── CatalogUnavailableError     Postgres cannot be reached
    ├── EmbeddedPostgresError       the embedded server cannot be started or stopped
    └── SchemaError                 migrations are behind, ahead, or cannot be applied
"""


class UnmovedError(Exception):
    """Base of all. ``str(error)`` is one line fit for a user: what, where, what to do."""


class ConfigurationError(UnmovedError):
    """A setting is missing, contradictory or unreadable."""


class InvalidInputError(UnmovedError):
    """A request that cannot be meant; the message says what to write instead."""


class NotFoundError(InvalidInputError):
    """The thing named is not there."""


class NotPermittedError(InvalidInputError):
    """Whoever asks may not do it; the message says what they lack."""


class CheckUnderWayError(InvalidInputError):
    """Another check of the same index has not ended."""


class TooLargeError(InvalidInputError):
    """More bytes than the settings let in; the message names the limit and its setting."""


class SourceError(UnmovedError):
    """One source or record cannot be ingested. ``source`` is its URI, ``reason`` one line."""

    def __init__(self, source: str, reason: str) -> None:
        """Keep both parts, since reports list them in columns."""
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


class SourceGoneError(SourceError):
    """A page is not there any more, by the word of its server."""


class ParsingUnavailableError(UnmovedError):
    """The processes that parse files cannot be started; no file is to blame."""


class EmbedderError(UnmovedError):
    """Embedding failed."""


class EmbedderUnavailableError(EmbedderError):
    """The embedder gave no answer: network, time-out, server error, rate limit."""


class EmbedderRefusedError(EmbedderError):
    """The embedder answered no: a wrong key, an unknown model, a bad request."""


class EmbedderResponseError(EmbedderError):
    """The embedder's answer cannot be used: wrong count or shape, NaN, a zero vector."""


class ModelMismatchError(EmbedderError):
    """The model that answers is not the model of the index."""


class SpentUpError(UnmovedError):
    """No more may be sent to a model, in texts or in money; what was done so far stands."""


class DegradedSearchError(UnmovedError):
    """A query was answered in another way than the one that is compared or measured."""


class RerankerError(UnmovedError):
    """Reranking failed; the hits stand as they were."""


class RerankerUnavailableError(RerankerError):
    """The reranker gave no answer: network, time-out, server error, rate limit."""


class RerankerRefusedError(RerankerError):
    """The reranker answered no: a wrong key, an unknown model, a bad request."""


class RerankerResponseError(RerankerError):
    """The reranker's answer cannot be used: a text without its one finite score."""


class GeneratorError(UnmovedError):
    """No answer was written; what was retrieved stands."""


class GeneratorUnavailableError(GeneratorError):
    """The model gave no answer: network, time-out, server error, rate limit."""


class GeneratorRefusedError(GeneratorError):
    """The model's server answered no: a wrong key, an unknown model, a bad request."""


class GeneratorResponseError(GeneratorError):
    """What the model wrote cannot be used: it broke off, or there is nothing in it."""


class StoreError(UnmovedError):
    """The vector store failed."""


class StoreUnavailableError(StoreError):
    """The vector store cannot be reached; this is never the same as empty."""


class StoreRefusedError(StoreError):
    """The vector store was reached and refused: schema, space, dimension."""


class AlertNotSentError(UnmovedError):
    """A webhook or a mail server did not take an alert."""


class BackupError(UnmovedError):
    """A backup cannot be made or restored; the message names the file and what to do."""


class CatalogError(UnmovedError):
    """The catalog failed."""


class CatalogUnavailableError(CatalogError):
    """The catalog's Postgres cannot be reached."""


class EmbeddedPostgresError(CatalogError):
    """The embedded Postgres cannot be started or stopped."""


class SchemaError(CatalogError):
    """The database's schema is not the one that this code needs."""
