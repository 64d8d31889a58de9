"""Source code: the text, and where its functions and classes are."""

from dataclasses import replace
from pathlib import PurePath

from ingest.loaders.decoding import declared_encoding, decode_detected
from ingest.loaders.documents import make_document
from ingest.loaders.outline import outline_of
from ingest.types import LoadedDocument, Outline, SourceRef

CODE_LANGUAGES = {
    ".bash": "shell",
    ".c": "c",
    ".cc": "cpp",
    ".cjs": "javascript",
    ".cpp": "cpp",
    ".cs": "csharp",
    ".css": "css",
    ".cxx": "cpp",
    ".go": "go",
    ".h": "c",
    ".hh": "cpp",
    ".hpp": "cpp",
    ".hxx": "cpp",
    ".ini": "ini",
    ".cfg": "ini",
    ".java": "java",
    ".jl": "julia",
    ".js": "javascript",
    ".json": "json",
    ".jsx": "javascript",
    ".kt": "kotlin",
    ".lua": "lua",
    ".mjs": "javascript",
    ".php": "php",
    ".pl": "perl",
    ".py": "python",
    ".pyi": "python",
    ".r": "r",
    ".rb": "ruby",
    ".rs": "rust",
    ".scala": "scala",
    ".sh": "shell",
    ".sql": "sql",
    ".swift": "swift",
    ".toml": "toml",
    ".ts": "typescript",
    ".tsx": "typescript",
    ".xml": "xml",
    ".yaml": "yaml",
    ".yml": "yaml",
}
"""Suffix to the name that the filter field ``type`` carries."""


def load_code(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read source code; its title is the name of the file."""
    document = _load(ref, data)
    return replace(document, outline=outline_of(ref.name, ref.uri, document.text))


def load_unparsed(ref: SourceRef, data: bytes, reason: str) -> LoadedDocument:
    """Read source code that was too much for a parser, with the reason as a note."""
    return replace(_load(ref, data), outline=Outline(note=f"cannot be parsed: {reason}"))


def _load(ref: SourceRef, data: bytes) -> LoadedDocument:
    language = CODE_LANGUAGES[PurePath(ref.name).suffix.lower()]
    read = decode_detected(ref.uri, data, declared_encoding(data) if language == "xml" else None)
    return make_document(
        ref, text=read.text, media_type=language, structure="code", encoding=read.encoding
    )
