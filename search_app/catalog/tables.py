"""The catalog's tables. Times are UTC; hashes are SHA-256 of UTF-8 text or of float32 bytes."""

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[object]:
    return Column("id", Uuid, primary_key=True)


def _reference(
    name: str, target: str, *, cascade: bool = True, null: bool = False
) -> Column[object]:
    ondelete = "CASCADE" if cascade else "SET NULL" if null else None
    return Column(name, Uuid, ForeignKey(f"{target}.id", ondelete=ondelete), nullable=null)


def _time(name: str, *, null: bool = False) -> Column[object]:
    default = None if null else func.now()
    return Column(name, DateTime(timezone=True), nullable=null, server_default=default)


collections = Table(
    "collections",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    # live, or deleting: nobody sees it any more, and its rows go once its vectors are gone.
    Column("state", Text, nullable=False, server_default=text("'live'")),
    _time("created_at"),
    # When something other than a run last changed what can be found.
    _time("touched_at"),
)

model_versions = Table(
    "model_versions",
    metadata,
    _id(),
    # How the embedder is made again; holds no key.
    Column("spec", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("revision", Text, nullable=False),
    Column("dimensions", Integer, nullable=False),
    Column("max_tokens", Integer),
    Column("document_prefix", Text, nullable=False),
    Column("query_prefix", Text, nullable=False),
    Column("settings", JSONB, nullable=False),
    Column("library_versions", JSONB, nullable=False),
    # Largest 1 - cos seen between sends of one canary when the model was registered.
    Column("noise_floor", Double, nullable=False),
    Column("bit_stable", Boolean, nullable=False),
    _time("created_at"),
    # Set where its vectors were imported while nobody could ask it; and once it answered as they
    # are. What nobody asked has no noise that anybody measured.
    _time("declared_at", null=True),
    _time("verified_at", null=True),
)

model_aliases = Table(
    "model_aliases",
    metadata,
    Column(
        "model_version_id",
        Uuid,
        ForeignKey("model_versions.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    # How an embedder was made that turned out to be this model under another name.
    Column("spec", Text, primary_key=True),
    _time("created_at"),
    _time("seen_at"),
)

canary_vectors = Table(
    "canary_vectors",
    metadata,
    Column(
        "model_version_id",
        Uuid,
        ForeignKey("model_versions.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    # Unit vector, float32 little-endian.
    Column("vector", LargeBinary, nullable=False),
    # The passage whose imported vector this is, and whose text is to be taken.
    Column("chunk_id", Uuid, ForeignKey("chunks.id", ondelete="CASCADE"), index=True),
)

indexes = Table(
    "indexes",
    metadata,
    _id(),
    _reference("collection_id", "collections"),
    _reference("model_version_id", "model_versions", cascade=False),
    Column("chunking", JSONB, nullable=False),
    Column("store", Text, nullable=False),
    Column("state", Text, nullable=False),
    _time("created_at"),
    _time("activated_at", null=True),
    # What numbers its store searches vectors by.
    Column("precision", Text, nullable=False),
    # At most one index of a collection answers searches.
    Index(
        "uq_indexes_active",
        "collection_id",
        unique=True,
        postgresql_where=text("state = 'active'"),
    ),
)

index_events = Table(
    "index_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _reference("index_id", "indexes"),
    # created, ready, activated, left, retired or cleared; and, where one was given, why.
    Column("event", Text, nullable=False),
    Column("reason", Text),
    _time("created_at"),
    Index("ix_index_events_index_id", "index_id"),
)

runs = Table(
    "runs",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    # Null once the collection is deleted: vectors copied from it elsewhere still name the run.
    _reference("collection_id", "collections", cascade=False, null=True),
    _reference("index_id", "indexes", cascade=False, null=True),
    # The queued job that the run does; the queue's tables are procrastinate's own.
    Column("job_id", BigInteger),
    Column("status", Text, nullable=False),
    Column("configuration", JSONB, nullable=False),
    Column("code_version", Text, nullable=False),
    Column("library_versions", JSONB, nullable=False),
    Column("host", Text, nullable=False),
    Column("process_id", Integer, nullable=False),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # What was found, read and planned so far, for those who watch.
    Column("progress", JSONB),
    # Why a failed run failed; the reasons of single sources are in run_errors.
    Column("reason", Text),
    _time("started_at"),
    _time("finished_at", null=True),
    # The run that this one does a share of.
    Column("part_of", Uuid, ForeignKey("runs.id", ondelete="CASCADE")),
    Index("ix_runs_part_of", "part_of", postgresql_where=text("part_of IS NOT NULL")),
    Index("ix_runs_collection_id_started_at", "collection_id", "started_at"),
    Index("ix_runs_job_id", "job_id", postgresql_where=text("job_id IS NOT NULL")),
)

run_parts = Table(
    "run_parts",
    metadata,
    # Of a run that many workers share: some of its sources, in the order in which they were found.
    Column("run_id", Uuid, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("sources", JSONB, nullable=False),
    # The run of the worker that has it. Without a reference: it only says who has to be alive.
    Column("claimed_by", Uuid),
    Column("done", Boolean, nullable=False, server_default=text("false")),
    Index("ix_run_parts_open", "run_id", "number", postgresql_where=text("NOT done")),
)

run_errors = Table(
    "run_errors",
    metadata,
    Column("run_id", Uuid, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

job_failures = Table(
    "job_failures",
    metadata,
    # Of the queue, which keeps no reasons itself.
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("reason", Text, nullable=False),
    _time("created_at"),
)

job_causes = Table(
    "job_causes",
    metadata,
    # W3C's traceparent of what asked for it; there is none where nobody traces.
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("trace_context", Text, nullable=False),
)

job_collections = Table(
    "job_collections",
    metadata,
    # By id, since a name may be given again; gone with the collection.
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    _reference("collection_id", "collections"),
    Index("ix_job_collections_collection_id", "collection_id"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _reference("collection_id", "collections"),
    Column("arguments", ARRAY(Text), nullable=False),
    Column("prune", Boolean, nullable=False),
    # Either so many seconds, or a cron line read in a time zone.
    Column("every_s", BigInteger),
    Column("cron", Text),
    Column("timezone", Text, nullable=False),
    Column("next_at", DateTime(timezone=True), nullable=False),
    _time("last_at", null=True),
    Column("last_job_id", BigInteger),
    _time("created_at"),
    CheckConstraint("(every_s IS NULL) <> (cron IS NULL)", name="ck_schedules_when"),
    Index("ix_schedules_next_at", "next_at"),
    Index("ix_schedules_collection_id", "collection_id"),
)

identity_proofs = Table(
    "identity_proofs",
    metadata,
    _id(),
    _reference("model_version_id", "model_versions"),
    _reference("run_id", "runs", cascade=False, null=True),
    Column("outcome", Text, nullable=False),
    Column("lowest_cosine", Double, nullable=False),
    Column("canary", Text, nullable=False),
    Column("library_versions", JSONB, nullable=False),
    _time("created_at"),
    Index("ix_identity_proofs_model_version_id_created_at", "model_version_id", "created_at"),
)

sources = Table(
    "sources",
    metadata,
    _id(),
    _reference("collection_id", "collections"),
    Column("uri", Text, nullable=False),
    # Of the bytes that the documents were read from; null until all of them are in.
    Column("content_hash", LargeBinary),
    # What read it: loader, its version and the options that change its outcome.
    Column("reader", Text, nullable=False),
    # With which options, and below which argument, so that an interrupted reading is finished as
    # it was begun.
    Column("options", JSONB, nullable=False),
    Column("root", Text, nullable=False),
    # Of a web page: what its server gave to ask for it again only if it has changed.
    Column("validators", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    _reference("seen_run_id", "runs", cascade=False, null=True),
    _time("updated_at"),
    UniqueConstraint("collection_id", "uri"),
    Index(
        "ix_sources_unfinished",
        "collection_id",
        postgresql_where=text("state IN ('pending', 'removing')"),
    ),
)

documents = Table(
    "documents",
    metadata,
    _id(),
    _reference("collection_id", "collections"),
    _reference("source_id", "sources"),
    Column("uri", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    # The filter fields, as described in filters.py.
    Column("fields", JSONB, nullable=False),
    # Of everything that chunks and fields are made from; null while the document is not in.
    Column("content_hash", LargeBinary),
    # What its text is cut by besides the text itself: with it, the text of its chunks can be cut
    # anew. Null of documents from before this was kept.
    Column("layout", JSONB),
    Column("state", Text, nullable=False),
    # The run that last changed it, and the one that last met it in its source.
    _reference("run_id", "runs", cascade=False, null=True),
    _reference("seen_run_id", "runs", cascade=False, null=True),
    _time("created_at"),
    _time("updated_at"),
    UniqueConstraint("collection_id", "uri"),
    Index("ix_documents_source_id", "source_id"),
    Index("ix_documents_deleting", "collection_id", postgresql_where=text("state = 'deleting'")),
    Index(
        "ix_documents_fields",
        "fields",
        postgresql_using="gin",
        postgresql_ops={"fields": "jsonb_path_ops"},
    ),
)

document_events = Table(
    "document_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _reference("collection_id", "collections"),
    # Without a reference: what was removed is what people ask for.
    Column("document_id", Uuid, nullable=False),
    Column("uri", Text, nullable=False),
    Column("title", Text, nullable=False),
    # added, updated or removed, with how many chunks it then had or had had.
    Column("event", Text, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("run_id", Uuid, ForeignKey("runs.id", ondelete="SET NULL")),
    _time("created_at"),
    Index("ix_document_events_document_id", "document_id"),
    Index("ix_document_events_run_id", "run_id"),
    Index("ix_document_events_collection_id", "collection_id"),
)

chunks = Table(
    "chunks",
    metadata,
    _id(),
    _reference("document_id", "documents"),
    Column("chunking", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("text", Text, nullable=False),
    # Title and headings that are embedded in front of the text; part of what text_hash covers.
    Column("context", Text, nullable=False),
    Column("text_hash", LargeBinary, nullable=False),
    Column("char_start", Integer, nullable=False),
    Column("char_end", Integer, nullable=False),
    Column("heading_path", JSONB, nullable=False),
    Column("page", Integer),
    Column("tokens", Integer, nullable=False),
    Column("state", Text, nullable=False),
    # Of source code: its lines, and the functions and classes that it is of.
    Column("code", JSONB),
    # Filter fields of its own, in the place of its document's; null where it has none.
    Column("fields", JSONB),
    Index("ix_chunks_document_id_ordinal", "document_id", "ordinal"),
    Index("ix_chunks_unfinished", "document_id", postgresql_where=text("state <> 'live'")),
)

vector_records = Table(
    "vector_records",
    metadata,
    Column("index_id", Uuid, ForeignKey("indexes.id", ondelete="CASCADE"), primary_key=True),
    Column("chunk_id", Uuid, ForeignKey("chunks.id", ondelete="CASCADE"), primary_key=True),
    # The run that embedded it, and, for a vector taken over from an equal text, the run that did.
    Column("run_id", Uuid, ForeignKey("runs.id"), nullable=False),
    Column("copied_by_run_id", Uuid, ForeignKey("runs.id")),
    # Of the exact text sent, prefix included.
    Column("sent_hash", LargeBinary, nullable=False),
    # Of the float32 bytes received, and of those handed to the store after normalising.
    Column("received_hash", LargeBinary, nullable=False),
    Column("stored_hash", LargeBinary, nullable=False),
    Column("norm", Double, nullable=False),
    Column("batch_size", Integer, nullable=False),
    Column("batch_position", Integer, nullable=False),
    # In how many pieces the text was sent; the vector of more than one is their mean.
    Column("pieces", Integer, nullable=False, server_default=text("1")),
    _time("created_at"),
    Index("ix_vector_records_sent_hash", "sent_hash"),
    # Deleting a chunk must not scan all records.
    Index("ix_vector_records_chunk_id", "chunk_id"),
)

embedding_cache = Table(
    "embedding_cache",
    metadata,
    # Vectors for texts that come again, whatever became of the index that they were made for. Only
    # what was proved to be of the model version is here.
    Column(
        "model_version_id",
        Uuid,
        ForeignKey("model_versions.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("kind", Text, primary_key=True),
    # As in vector_records; so are the other columns of that name.
    Column("sent_hash", LargeBinary, primary_key=True),
    # Unit vector, float32 little-endian.
    Column("vector", LargeBinary, nullable=False),
    # The run that embedded it: a vector that nobody can tell the origin of is not kept.
    _reference("run_id", "runs"),
    Column("received_hash", LargeBinary, nullable=False),
    Column("stored_hash", LargeBinary, nullable=False),
    Column("norm", Double, nullable=False),
    Column("batch_size", Integer, nullable=False),
    Column("batch_position", Integer, nullable=False),
    Column("pieces", Integer, nullable=False),
    _time("created_at"),
    # The oldest go first; with the other columns, counting needs no look at the vectors.
    Index("ix_embedding_cache_created_at", "created_at", "model_version_id", "kind"),
    Index("ix_embedding_cache_run_id", "run_id"),
)

lexicons = Table(
    "lexicons",
    metadata,
    Column("index_id", Uuid, ForeignKey("indexes.id", ondelete="CASCADE"), primary_key=True),
    # How texts are cut, by which version of the rules, and how BM25 weighs terms.
    Column("analyzer", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("k1", Double, nullable=False),
    Column("b", Double, nullable=False),
    Column("average_length", Double, nullable=False),
    Column("passages", BigInteger, nullable=False, server_default=text("0")),
    # False while an index that was filled without terms is being given them.
    Column("complete", Boolean, nullable=False),
)

term_frequencies = Table(
    "term_frequencies",
    metadata,
    Column("index_id", Uuid, ForeignKey("lexicons.index_id", ondelete="CASCADE"), primary_key=True),
    Column("term_id", Integer, primary_key=True, autoincrement=False),
    Column("passages", Integer, nullable=False),
    # How the term is written, where it is a word: its stem is no word to suggest.
    Column("word", Text),
)

query_vectors = Table(
    "query_vectors",
    metadata,
    Column(
        "model_version_id",
        Uuid,
        ForeignKey("model_versions.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("text_hash", LargeBinary, primary_key=True),
    # Unit vector, float32 little-endian.
    Column("vector", LargeBinary, nullable=False),
    # False until the model has proved itself after it gave the vector.
    Column("proven", Boolean, nullable=False),
    _time("created_at"),
)

query_log = Table(
    "query_log",
    metadata,
    _id(),
    _reference("collection_id", "collections"),
    _reference("index_id", "indexes"),
    _reference("model_version_id", "model_versions", cascade=False),
    # Null where logging of texts is off; the hash is always there.
    Column("query", Text),
    Column("query_hash", LargeBinary, nullable=False),
    Column("filters", ARRAY(Text), nullable=False),
    Column("k", Integer, nullable=False),
    Column("first_rank", Integer, nullable=False),
    Column("exact", Boolean, nullable=False),
    Column("hit_ids", ARRAY(Uuid), nullable=False),
    # Of which document each hit was: an edited document has other passages. Empty in searches
    # from before this was kept.
    Column("document_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    Column("scores", ARRAY(Double), nullable=False),
    Column("took_ms", Double, nullable=False),
    Column("client", Text, nullable=False),
    Column("mode", Text, nullable=False, server_default=text("'semantic'")),
    # What the query was embedded as: query or code.
    Column("kind", Text, nullable=False, server_default=text("'query'")),
    # Of the query's vector, float32 little-endian; null where there was none.
    Column("vector_hash", LargeBinary),
    _time("created_at"),
    Index("ix_query_log_query_hash", "query_hash"),
    Index("ix_query_log_collection_id_created_at", "collection_id", "created_at"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("search_id", Uuid, ForeignKey("query_log.id", ondelete="CASCADE"), primary_key=True),
    # Neither is a reference: what was said of a document holds again once it is back.
    Column("chunk_id", Uuid, primary_key=True),
    Column("document_id", Uuid, nullable=False),
    # Rank of the hit in that search, from 1.
    Column("position", Integer, nullable=False),
    Column("verdict", SmallInteger, nullable=False),
    _time("created_at"),
    CheckConstraint("verdict IN (-1, 1)", name="ck_feedback_verdict"),
    Index("ix_feedback_chunk_id", "chunk_id"),
)

answers = Table(
    "answers",
    metadata,
    _id(),
    _reference("collection_id", "collections"),
    _reference("index_id", "indexes"),
    _reference("model_version_id", "model_versions", cascade=False),
    # Of the query log, where both are kept equally long; not a reference, so that either may go.
    Column("search_id", Uuid, nullable=False),
    Column("question", Text, nullable=False),
    # What was searched for.
    Column("query", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("generator", Text, nullable=False),
    Column("generator_model", Text),
    Column("prompt_version", Text, nullable=False),
    Column("text", Text, nullable=False),
    # As they were given, texts included: documents change, and what was answered stays, until
    # they are removed.
    Column("passages", JSONB, nullable=False),
    Column("document_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    Column("sentences", JSONB, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("client", Text, nullable=False),
    _time("created_at"),
    Index("ix_answers_collection_id_created_at", "collection_id", "created_at"),
    Index("ix_answers_index_id", "index_id"),
    Index("ix_answers_document_ids", "document_ids", postgresql_using="gin"),
)

reference_queries = Table(
    "reference_queries",
    metadata,
    _id(),
    _reference("index_id", "indexes"),
    Column("text", Text, nullable=False),
    # What it is embedded as: query or code.
    Column("kind", Text, nullable=False, server_default=text("'query'")),
    # golden, log or title: where the text is from.
    Column("origin", Text, nullable=False),
    # Unit vectors of the query, one after the other, float32 little-endian.
    Column("sends", Integer, nullable=False),
    Column("vectors", LargeBinary, nullable=False),
    _time("created_at"),
    Index("ix_reference_queries_index_id", "index_id"),
)

checks = Table(
    "checks",
    metadata,
    _id(),
    _reference("collection_id", "collections"),
    _reference("index_id", "indexes"),
    Column("verdict", Text, nullable=False),
    # Lists compared with their references and those that changed; lists asked for twice and those
    # that then differed.
    Column("sampled", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("repeated", Integer, nullable=False),
    Column("unsteady", Integer, nullable=False),
    Column("noise_median", Double),
    Column("noise_max", Double),
    # The processes of evidence after this check.
    Column("drift", ARRAY(Double), nullable=False),
    Column("reproducibility", ARRAY(Double), nullable=False),
    Column("report", JSONB, nullable=False),
    _time("created_at"),
    # When a person took what this check saw as the new baseline.
    _time("accepted_at", null=True),
    Index("ix_checks_index_id_created_at", "index_id", "created_at"),
    Index("ix_checks_collection_id_created_at", "collection_id", "created_at"),
)

check_sends = Table(
    "check_sends",
    metadata,
    Column("check_id", Uuid, ForeignKey("checks.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "reference_id",
        Uuid,
        ForeignKey("reference_queries.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    # As in reference_queries: what that night's sends gave.
    Column("sends", Integer, nullable=False),
    Column("vectors", LargeBinary, nullable=False),
    Index("ix_check_sends_reference_id", "reference_id"),
)

check_nights = Table(
    "check_nights",
    metadata,
    # When every collection is checked: a row for each way that workers were told.
    Column("timing", Text, primary_key=True),
    Column("next_at", DateTime(timezone=True), nullable=False),
)

check_jobs = Table(
    "check_jobs",
    metadata,
    # Which check a job ended with; a job that is forgotten leaves its row, which is small.
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    _reference("check_id", "checks"),
    Index("ix_check_jobs_check_id", "check_id"),
)

analyses = Table(
    "analyses",
    metadata,
    _id(),
    _reference("collection_id", "collections"),
    _reference("index_id", "indexes"),
    _reference("model_version_id", "model_versions"),
    # clusters, outliers, diversity or labels.
    Column("kind", Text, nullable=False),
    # What was asked for, and what came of it, in the shapes of the API.
    Column("parameters", JSONB, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("numbers", JSONB, nullable=False),
    Column("seconds", Double, nullable=False),
    # The queued job that did it; without a reference, like that of runs.
    Column("job_id", BigInteger),
    _time("created_at"),
    Index("ix_analyses_collection_id_created_at", "collection_id", "created_at"),
    Index("ix_analyses_index_id", "index_id"),
    Index("ix_analyses_model_version_id", "model_version_id"),
)

analysis_members = Table(
    "analysis_members",
    metadata,
    Column("analysis_id", Uuid, ForeignKey("analyses.id", ondelete="CASCADE"), primary_key=True),
    Column("chunk_id", Uuid, ForeignKey("chunks.id", ondelete="CASCADE"), primary_key=True),
    # -1: in none.
    Column("cluster", Integer, nullable=False),
    # Cosine to the centre of the cluster.
    Column("score", REAL, nullable=False),
    # Deleting a chunk must not scan all members.
    Index("ix_analysis_members_chunk_id", "chunk_id"),
)

label_suggestions = Table(
    "label_suggestions",
    metadata,
    Column("document_id", Uuid, ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True),
    # Of the metadata field that it could be the value of; given values are in documents.fields.
    Column("name", Text, primary_key=True),
    Column("value", JSONB, nullable=False),
    # Null of a predicted number.
    Column("probability", Double),
    Column("method", Text, nullable=False),
    _reference("analysis_id", "analyses"),
    _time("created_at"),
    Index("ix_label_suggestions_analysis_id", "analysis_id"),
)

map_points = Table(
    "map_points",
    metadata,
    Column("analysis_id", Uuid, ForeignKey("analyses.id", ondelete="CASCADE"), primary_key=True),
    # Its number on the map, which it keeps when others go.
    Column("place", Integer, primary_key=True, autoincrement=False),
    _reference("chunk_id", "chunks"),
    # From -1 to 1.
    Column("x", REAL, nullable=False),
    Column("y", REAL, nullable=False),
    # Deleting a chunk must not scan all points.
    Index("ix_map_points_chunk_id", "chunk_id"),
)

exclusions = Table(
    "exclusions",
    metadata,
    Column("document_id", Uuid, ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True),
    # Of a passage with its context, as in chunks; empty: the whole document.
    Column("text_hash", LargeBinary, primary_key=True),
    _reference("collection_id", "collections"),
    Column("reason", Text, nullable=False),
    _time("created_at"),
    Index("ix_exclusions_collection_id", "collection_id"),
)

alerts = Table(
    "alerts",
    metadata,
    _id(),
    # What it is about, so that the same is said once, whoever notices it.
    Column("key", Text, nullable=False, unique=True),
    # fail or no_check.
    Column("kind", Text, nullable=False),
    _reference("collection_id", "collections"),
    Column("payload", JSONB, nullable=False),
    _time("created_at"),
    Index("ix_alerts_collection_id", "collection_id"),
    Index("ix_alerts_created_at", "created_at"),
)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    Column("alert_id", Uuid, ForeignKey("alerts.id", ondelete="CASCADE"), primary_key=True),
    # webhook or mail.
    Column("channel", Text, primary_key=True),
    # waiting, sent or failed: given up.
    Column("status", Text, nullable=False, server_default=text("'waiting'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # Why the latest attempt failed.
    Column("reason", Text),
    _time("due_at"),
    _time("sent_at", null=True),
    CheckConstraint("status IN ('waiting', 'sent', 'failed')", name="ck_alert_deliveries_status"),
    Index("ix_alert_deliveries_due_at", "due_at", postgresql_where=text("status = 'waiting'")),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    # The beginning of the key, by which it is found and shown.
    Column("label", Text, nullable=False, unique=True),
    # Of the whole key.
    Column("hash", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    # False: those of key_collections alone, even once that is none.
    Column("all_collections", Boolean, nullable=False),
    # The key that this one takes the place of; nothing takes the place of one twice.
    Column("rotated_from", Uuid, ForeignKey("api_keys.id", ondelete="SET NULL"), unique=True),
    _time("created_at"),
    _time("expires_at", null=True),
    _time("last_used_at", null=True),
    _time("revoked_at", null=True),
)

key_collections = Table(
    "key_collections",
    metadata,
    Column("key_id", Uuid, ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True),
    # A collection that is made anew under an old name is another one for keys: the row is gone.
    Column(
        "collection_id", Uuid, ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True
    ),
    Index("ix_key_collections_collection_id", "collection_id"),
)

web_sessions = Table(
    "web_sessions",
    metadata,
    # Of what the browser's cookie holds.
    Column("hash", LargeBinary, primary_key=True),
    _reference("key_id", "api_keys"),
    _time("created_at"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Index("ix_web_sessions_key_id", "key_id"),
    Index("ix_web_sessions_expires_at", "expires_at"),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _time("created_at"),
    # The name of a key or of a user of the system, and the key's label where there was one.
    Column("who", Text, nullable=False),
    Column("key_label", Text),
    Column("address", Text),
    # page, api, mcp or command.
    Column("via", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    # done, or why not.
    Column("outcome", Text, nullable=False),
    Index("ix_audit_events_created_at", "created_at"),
)
