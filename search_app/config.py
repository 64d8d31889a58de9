"""Settings: the only file that reads the environment. Everything else is given arguments."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import platformdirs
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    SettingsConfigDict,
)

from search_app.errors import ConfigurationError
from search_app.fusion import DENSE_WEIGHT

ENV_FILE = ".env"
PREFIX = "UNMOVED_"
TIME_OF_DAY = re.compile("([01]?[0-9]|2[0-3]):([0-5][0-9])")
_FIELDS_OF_CRON = 5
_MAIL_ADDRESS = re.compile(r"[^@\s,<>\"]+@[^@\s,<>\"]+")
SCHEMES = ("postgres", "postgresql", "postgresql+psycopg")


def default_data_dir() -> Path:
    """Where an installation lives by default: the system's place for root, else the user's."""
    if sys.platform != "win32" and os.geteuid() == 0:
        return Path("/var/lib/unmoved")
    return platformdirs.user_data_path("unmoved")


class Settings(BaseSettings):
    """Everything that can be set, by environment variable or in a ``.env`` file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ENV_FILE, env_file_encoding="utf-8", extra="ignore", frozen=True
    )

    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="Where everything of one installation lives.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        validation_alias="DATABASE_URL",
        description="PostgreSQL 14 or newer with pgvector 0.8 or newer; unset: an embedded server.",
    )
    collection: str = Field(
        default="default", description="The collection used when none is named."
    )
    embedder: str = Field(
        default="bundled",
        description=(
            "The embedder of new collections: bundled, openai:MODEL, google:MODEL, bedrock:MODEL, "
            "cohere:MODEL, voyage:MODEL, onnx:FOLDER, sentence-transformers:NAME_OR_PATH or "
            "hashing:DIM."
        ),
    )
    store: Literal["pgvector", "qdrant"] = Field(
        default="pgvector", description="Where the vectors of new indexes live."
    )
    precision: Literal["float32", "float16", "int8", "binary"] | None = Field(
        default=None,
        description="What numbers new indexes search by; unset: float16 in pgvector, float32 in "
        "Qdrant.",
    )
    hnsw_from: int = Field(
        default=5_000,
        ge=1,
        description="Passages from which pgvector gets an HNSW index; below, it compares with all.",
    )
    qdrant_url: str | None = Field(
        default=None,
        description="Address of a Qdrant server, or local:FOLDER for trials in one process.",
    )
    qdrant_api_key: SecretStr | None = Field(
        default=None, description="Its key, where it wants one."
    )
    qdrant_grpc_port: int = Field(
        default=0, ge=0, le=65535, description="Talk gRPC over this port; 0: REST only."
    )
    qdrant_timeout: int = Field(
        default=30, ge=1, description="Seconds that Qdrant has for one request."
    )
    qdrant_shards: int = Field(default=1, ge=1, description="Shards of new Qdrant collections.")
    qdrant_replicas: int = Field(
        default=1, ge=1, description="Copies of each shard on different nodes."
    )
    qdrant_write_consistency: int = Field(
        default=1, ge=1, description="Copies that must confirm a write."
    )
    chunk_tokens: int = Field(
        default=256, ge=32, le=400, description="Most tokens of a chunk in new indexes."
    )
    analyzer: Literal["bigram", "sudachi"] = Field(
        default="bigram",
        description="How keyword search cuts Japanese in new indexes: character pairs, or words.",
    )
    embedding_price: float | None = Field(
        default=None,
        ge=0,
        description="What a million tokens cost at the provider; comes before any table of prices.",
    )
    prices: Path | None = Field(
        default=None,
        description="TOML file with prices of models, over those that come with the program.",
    )
    too_long: Literal["split", "refuse"] = Field(
        default="split",
        description="What becomes of a text that is longer than the model reads: sent in pieces "
        "whose vectors are averaged, or refused.",
    )
    vector_cache_mb: int = Field(
        default=1024,
        ge=0,
        description="Megabytes of document vectors kept for texts that come again, the oldest go "
        "first; 0: none.",
    )
    vector_cache_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Days that such vectors are kept; 0: no limit.",
    )
    golden_gate: Path | None = Field(
        default=None,
        description="Folder of a golden set that an index must do well on before it is activated.",
    )
    golden_gate_ndcg: float = Field(
        default=0.5, ge=0, le=1, description="Least nDCG@10 that it must reach there."
    )
    retire_after_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Days after which a worker retires an index that is not active; 0: never.",
    )
    search_mode: Literal["hybrid", "semantic", "keyword"] = Field(
        default="hybrid", description="How searches are answered unless they say."
    )
    fusion: Literal["minmax", "rrf"] = Field(
        default="minmax", description="How hybrid search merges its two lists: by scores or ranks."
    )
    dense_weight: float = Field(
        default=DENSE_WEIGHT, ge=0, le=1, description="Share of meaning in hybrid scores, 0 to 1."
    )
    max_file_mb: int = Field(
        default=64,
        ge=1,
        description="Files above this many megabytes are refused, CSV and JSONL excepted.",
    )
    parsers: int = Field(
        default=0, ge=0, description="Processes that parse files; 0: one for each core."
    )
    parse_seconds: int = Field(
        default=120, ge=1, description="Seconds that one file may take to parse."
    )
    parse_memory_mb: int = Field(
        default=2048, ge=256, description="Memory of one parsing process, in megabytes."
    )
    fetch_seconds: int = Field(
        default=30, ge=1, description="Seconds that one web page may take to arrive."
    )
    fetch_private: bool = Field(
        default=False, description="Fetch pages from private and loopback addresses too."
    )
    threads: int = Field(
        default=0, ge=0, description="Threads of bundled and ONNX models; 0: one for each core."
    )
    sentence_transformers_batch_size: int = Field(
        default=1,
        ge=1,
        description="Texts in one call of sentence-transformers; 1 keeps vectors independent.",
    )
    sentence_transformers_backend: Literal["torch", "onnx"] = Field(
        default="torch",
        description="What runs models of sentence-transformers: torch, or ONNX Runtime where a "
        "model comes with an ONNX file.",
    )
    onnx_batch_size: int = Field(
        default=1,
        ge=1,
        description="Texts in one batch of an ONNX model; 1 keeps vectors independent.",
    )
    embedding_concurrency: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Most requests under way at once to a hosted model; 0: as suits the provider.",
    )
    embedding_requests_per_minute: int = Field(
        default=0,
        ge=0,
        description="Most requests a minute to a hosted model, of one process; 0: no limit.",
    )
    embedding_tokens_per_minute: int = Field(
        default=0,
        ge=0,
        description="Most tokens a minute to a hosted model, of one process; 0: no limit.",
    )
    embedding_timeout: int = Field(
        default=60, ge=1, description="Seconds that a hosted model has for one request."
    )
    embedding_retries: int = Field(
        default=4,
        ge=0,
        le=100,
        description="How often a request is sent again that got no answer.",
    )
    openai_base_url: str | None = Field(
        default=None, description="Address of an OpenAI-compatible endpoint, ending in /v1."
    )
    openai_api_key: SecretStr | None = Field(
        default=None, description="Its key, where it wants one."
    )
    openai_dimensions: int | None = Field(
        default=None, ge=1, description="Dimensions to ask for; unset: the model's own."
    )
    openai_encoding: Literal["base64", "float"] = Field(
        default="base64", description="How vectors travel; base64 carries float32 exactly."
    )
    openai_batch_size: int = Field(default=64, ge=1, le=2048, description="Texts in one request.")
    openai_api_version: str | None = Field(
        default=None,
        description="Version of Azure's older API, such as 2024-10-21; unset for all others.",
    )
    tiktoken_file: Path | None = Field(
        default=None,
        description="File cl100k_base.tiktoken, by which tokens of OpenAI's models are counted.",
    )
    openai_document_prefix: str = Field(
        default="", description="Text put before every document, for models that want one."
    )
    openai_query_prefix: str = Field(
        default="", description="Text put before every query, for models that want one."
    )
    google_api_key: SecretStr | None = Field(
        default=None, description="Key of Google's Gemini API."
    )
    google_project: str | None = Field(
        default=None, description="Project of Google Cloud; set: Vertex AI is asked."
    )
    google_location: str = Field(default="global", description="Where Vertex AI is asked.")
    google_base_url: str | None = Field(
        default=None, description="Address of Google's API without version; unset: its own."
    )
    google_batch_size: int = Field(
        default=64,
        ge=1,
        le=250,
        description="Texts in one request to Google, where the model takes so many.",
    )
    bedrock_region: str | None = Field(
        default=None, description="Region of AWS for Bedrock; unset: as AWS's own settings say."
    )
    bedrock_profile: str | None = Field(
        default=None, description="Profile of AWS's configuration; unset: as its settings say."
    )
    bedrock_endpoint_url: str | None = Field(
        default=None, description="Another address of Bedrock, as in a private network."
    )
    bedrock_normalize: bool = Field(
        default=True, description="Ask Titan's second version for vectors of length 1."
    )
    bedrock_nova_purpose: Literal["TEXT_RETRIEVAL", "GENERIC_RETRIEVAL"] = Field(
        default="TEXT_RETRIEVAL",
        description="What Nova is told that queries look among: texts alone, or everything.",
    )
    bedrock_batch_size: int = Field(
        default=96, ge=1, le=96, description="Texts in one request to Cohere on Bedrock."
    )
    cohere_api_key: SecretStr | None = Field(
        default=None, description="Cohere's key; its own address needs one."
    )
    cohere_base_url: str | None = Field(
        default=None, description="Address of Cohere's API without version; unset: its own."
    )
    cohere_batch_size: int = Field(
        default=96, ge=1, le=96, description="Texts in one request to Cohere."
    )
    voyage_api_key: SecretStr | None = Field(
        default=None, description="Voyage AI's key; its own address needs one."
    )
    voyage_base_url: str | None = Field(
        default=None, description="Address of Voyage's API, ending in /v1; unset: its own."
    )
    voyage_batch_size: int = Field(
        default=128, ge=1, le=1000, description="Texts in one request to Voyage AI."
    )
    reranker: str | None = Field(
        default=None,
        description=(
            "What puts the best hits in a better order: sentence-transformers:NAME_OR_PATH or "
            "endpoint:MODEL; unset: nothing."
        ),
    )
    rerank_url: str | None = Field(
        default=None, description="Address of a rerank endpoint, mostly ending in /rerank."
    )
    rerank_api_key: SecretStr | None = Field(
        default=None, description="Its key, where it wants one."
    )
    rerank_depth: int = Field(
        default=50, ge=1, le=1000, description="Best hits that are reranked; the rest stays below."
    )
    generator: str = Field(
        default="extractive",
        description="What writes answers: extractive, which quotes the passages and needs no "
        "model, or chat:MODEL.",
    )
    chat_base_url: str | None = Field(
        default=None,
        description="Address of an OpenAI-compatible chat endpoint, ending in /v1; unset: "
        "OpenAI's own.",
    )
    chat_api_key: SecretStr | None = Field(default=None, description="Its key, where it wants one.")
    chat_seconds: int = Field(
        default=180, ge=1, le=3600, description="Seconds that an answer may take to its last byte."
    )
    chat_stall_seconds: int = Field(
        default=60, ge=1, le=3600, description="Seconds that may pass between two bytes of it."
    )
    answer_tokens: int = Field(
        default=3000,
        ge=100,
        le=1_000_000,
        description="Tokens of passages that an answer may be made of.",
    )
    answer_threshold: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="How well a question must be met by what was found before it is answered, 0 "
        "to 1; 0: always.",
    )
    host: str = Field(default="127.0.0.1", description="Address the web server listens on.")
    port: int = Field(default=8020, ge=0, le=65535, description="Port the web server listens on.")
    allowed_hosts: str = Field(
        default="",
        description="Host names besides loopback that requests may carry, comma-separated.",
    )
    ingest_roots: str = Field(
        default="",
        description="Folders whose files may be ingested over the web, colon-separated.",
    )
    secret_key: SecretStr | None = Field(
        default=None,
        description="Signs form tokens; unset: made once and kept in the data directory.",
    )
    rate_per_key: int = Field(
        default=600, ge=0, description="Requests a minute that each key may make; 0: no limit."
    )
    rate_per_address: int = Field(
        default=1200,
        ge=0,
        description="Requests a minute that may come from each address; 0: no limit.",
    )
    wrong_keys_per_minute: int = Field(
        default=10,
        ge=1,
        description="Wrong keys a minute from one address, after which others are not looked at.",
    )
    session_hours: int = Field(
        default=12, ge=1, le=8760, description="Hours after which browsers must log in again."
    )
    cors_origins: str = Field(
        default="",
        description="Sites whose pages may use the API with a key, such as https://example.org, "
        "comma-separated.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="Key by which search-app mcp looks things up over standard input, once there "
        "are keys.",
    )
    audit_days: int = Field(
        default=365,
        ge=0,
        le=36_500,
        description="Days that the log of changes reaches back; 0: for ever.",
    )
    query_log: bool = Field(
        default=True, description="Keep the texts of searches; off keeps only their hashes."
    )
    query_log_days: int = Field(
        default=90,
        ge=0,
        le=36_500,
        description="Days that searches are kept, with the feedback on their hits; 0: for ever.",
    )
    check_at: str = Field(
        default="03:00",
        description=(
            "When workers check every collection: a time of day, a cron line such as "
            "0 3 * * 1-5, or off."
        ),
    )
    check_timezone: str = Field(
        default="",
        description="Time zone of UNMOVED_CHECK_AT, such as Asia/Tokyo; empty: the machine's.",
    )
    public_url: str = Field(
        default="", description="Address that people reach the web page at, for links in alerts."
    )
    alert_after_days: int = Field(
        default=2,
        ge=0,
        le=365,
        description="Days without a check that came to a conclusion, after which that is said; "
        "0: never.",
    )
    alert_webhook_url: SecretStr | None = Field(
        default=None, description="Address that alerts are posted to as JSON."
    )
    alert_webhook_secret: SecretStr | None = Field(
        default=None, description="Signs what is posted there, by HMAC-SHA256."
    )
    smtp_host: str = Field(default="", description="Mail server that alerts are handed to.")
    smtp_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Its port; 0: 587 for starttls, 465 for tls, 25 for none.",
    )
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="How the way to the mail server is encrypted."
    )
    smtp_user: str = Field(default="", description="Name to log in with, where it wants one.")
    smtp_password: SecretStr | None = Field(default=None, description="The password to that name.")
    alert_mail_from: str = Field(default="", description="Sender of alerts by mail.")
    alert_mail_to: str = Field(
        default="", description="Who gets alerts by mail: addresses, comma-separated."
    )
    otlp_endpoint: str = Field(
        default="",
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Address of an OpenTelemetry collector that traces are sent to over HTTP, such "
        "as http://localhost:4318; unset: none are made.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="warning", description="What is written to standard error."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="How: lines to read, or one JSON object each."
    )

    @field_validator("data_dir", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("database_url", mode="after")
    @classmethod
    def _postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value().strip():
            return None
        try:
            parts = urlsplit(value.get_secret_value())
            readable = parts.scheme in SCHEMES and (parts.port or 1) > 0
        except ValueError:
            # Its message may quote the password.
            readable = False
        if not readable:
            raise ValueError("must be an address like postgresql://user:password@host:5432/name")
        return value

    @field_validator("check_at", mode="after")
    @classmethod
    def _time_or_cron(cls, value: str) -> str:
        from croniter import croniter

        text = " ".join(value.split()).lower()
        is_cron = len(text.split(" ")) == _FIELDS_OF_CRON and croniter.is_valid(text)
        if text != "off" and not is_cron and not TIME_OF_DAY.fullmatch(text):
            raise ValueError(
                "must be a time of day such as 03:00, a cron line such as 0 3 * * *, or off"
            )
        return text

    @field_validator("check_timezone", mode="after")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            if value.strip():
                ZoneInfo(value.strip())
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("must be a time zone such as Asia/Tokyo or UTC") from None
        return value.strip()

    @field_validator("public_url", mode="after")
    @classmethod
    def _page_address(cls, value: str) -> str:
        if value.strip() and not _is_web_address(value.strip()):
            raise ValueError("must be an address like https://search.example.org")
        return value.strip().rstrip("/")

    @field_validator("otlp_endpoint", mode="after")
    @classmethod
    def _collector(cls, value: str) -> str:
        if value.strip() and not _is_web_address(value.strip()):
            raise ValueError("must be an address like http://localhost:4318")
        return value.strip().rstrip("/")

    @field_validator("alert_webhook_url", mode="after")
    @classmethod
    def _webhook(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value().strip():
            return None
        if not _is_web_address(value.get_secret_value().strip()):
            # Not repeated: such addresses often hold a key.
            raise ValueError("must be an address like https://example.org/hook")
        return SecretStr(value.get_secret_value().strip())

    @field_validator("alert_mail_from", "alert_mail_to", mode="after")
    @classmethod
    def _mail_addresses(cls, value: str, info: ValidationInfo) -> str:
        if info.field_name == "alert_mail_from" and "," in value:
            raise ValueError("must be one mail address")
        for address in filter(None, (part.strip() for part in value.split(","))):
            if not _MAIL_ADDRESS.fullmatch(address):
                raise ValueError(f"has {address[:80]!r}, which is no mail address")
        return value.strip()

    @field_validator("alert_mail_to", mode="after")
    @classmethod
    def _complete_mail(cls, value: str, info: ValidationInfo) -> str:
        for needed in ("smtp_host", "alert_mail_from"):
            if value and not info.data.get(needed):
                raise ValueError(f"needs {PREFIX}{needed.upper()} too")
        return value


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        (parts.hostname or "").encode("idna")
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and text.isascii() and text.isprintable() and " " not in text


@dataclass(frozen=True, kw_only=True)
class SettingOrigin:
    """One setting as ``search-app config`` shows it; secrets are masked."""

    name: str
    variable: str
    value: str
    origin: str
    description: str


def load_settings(**overrides: Any) -> Settings:
    """Read the settings in force: arguments over environment over ``.env`` over defaults.

    Raises:
        ConfigurationError: a value cannot be used; names the variable and what it must be.
    """
    try:
        return Settings(**overrides)
    except ValidationError as exc:
        problems = "; ".join(_problem(error) for error in exc.errors())
        raise ConfigurationError(f"settings: {problems}") from exc


def _problem(error: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in error["loc"])
    variable = name if name.isupper() else f"{PREFIX}{name.upper()}"
    return f"{variable} {error['msg'][:1].lower()}{error['msg'][1:]}"


def describe_settings(settings: Settings) -> list[SettingOrigin]:
    """List every setting with its value in force and where that came from."""
    environment = EnvSettingsSource(Settings)()
    file = DotEnvSettingsSource(Settings)()
    rows = []
    for name, info in Settings.model_fields.items():
        alias = info.validation_alias
        key = alias if isinstance(alias, str) else name
        variable = key if isinstance(alias, str) else f"{PREFIX}{name.upper()}"
        origin = "environment" if key in environment else ENV_FILE if key in file else "default"
        rows.append(
            SettingOrigin(
                name=name,
                variable=variable,
                value=_shown(getattr(settings, name)),
                origin=origin,
                description=info.description or "",
            )
        )
    return rows


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "********"
    return "(unset)" if value is None else str(value)
