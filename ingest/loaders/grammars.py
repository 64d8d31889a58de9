"""The grammars of programming languages: what names a function or a class in a tree of syntax.

Each comes in a package of its own, all of the extra ``code``, none of which needs a network. A
query finds definitions by their kind, ``@wrap`` what belongs to the one definition inside it, and
``@note`` comments and attributes, which belong to what they stand directly above.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """A language's grammar: ``package`` on the index, ``function`` of its module, the query."""

    name: str
    package: str
    query: str
    function: str = "language"

    @property
    def module(self) -> str:
        """The module of the package."""
        return self.package.replace("-", "_")


_PYTHON = """
(class_definition name: (_) @name) @class
(function_definition name: (_) @name) @function
(decorated_definition) @wrap
(comment) @note
"""
_JAVASCRIPT = """
(class_declaration name: (_) @name) @class
(function_declaration name: (_) @name) @function
(generator_function_declaration name: (_) @name) @function
(method_definition name: (_) @name) @method
(variable_declarator name: (identifier) @name
  value: [(arrow_function) (function_expression) (generator_function)]) @function
(variable_declarator name: (identifier) @name value: (class)) @class
(assignment_expression left: [(member_expression) (identifier)] @name
  right: [(arrow_function) (function_expression) (generator_function)]) @function
(export_statement) @wrap
(lexical_declaration) @wrap
(variable_declaration) @wrap
(expression_statement (assignment_expression)) @wrap
(decorator) @note
(comment) @note
"""
_TYPESCRIPT = f"""{_JAVASCRIPT}
(abstract_class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @interface
(type_alias_declaration name: (_) @name) @type
(enum_declaration name: (_) @name) @enum
(internal_module name: (_) @name) @namespace
(function_signature name: (_) @name) @function
(abstract_method_signature name: (_) @name) @method
(public_field_definition name: (_) @name
  value: [(arrow_function) (function_expression)]) @method
"""
_GO = """
(function_declaration name: (_) @name) @function
(method_declaration receiver: (_) @receiver name: (_) @name) @method
(type_spec name: (_) @name) @type
(type_declaration) @wrap
(comment) @note
(package_clause (package_identifier) @module)
"""
_RUST = """
(function_item name: (_) @name) @function
(function_signature_item name: (_) @name) @function
(struct_item name: (_) @name) @struct
(enum_item name: (_) @name) @enum
(union_item name: (_) @name) @struct
(trait_item name: (_) @name) @trait
(impl_item type: (_) @name) @impl
(mod_item name: (_) @name body: (_)) @namespace
(macro_definition name: (_) @name) @macro
(attribute_item) @note
(line_comment) @note
(block_comment) @note
"""
_JAVA = """
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @interface
(annotation_type_declaration name: (_) @name) @interface
(enum_declaration name: (_) @name) @enum
(record_declaration name: (_) @name) @class
(method_declaration name: (_) @name) @method
(constructor_declaration name: (_) @name) @method
(compact_constructor_declaration name: (_) @name) @method
(line_comment) @note
(block_comment) @note
(package_declaration (_) @module)
"""
_C = """
(function_definition declarator: (_) @declarator) @function
(struct_specifier name: (_) @name body: (_)) @struct
(union_specifier name: (_) @name body: (_)) @struct
(enum_specifier name: (_) @name body: (_)) @enum
(type_definition type: [
    (struct_specifier !name body: (_)) (union_specifier !name body: (_))
    (enum_specifier !name body: (_))
  ] declarator: (type_identifier) @name) @struct
(preproc_function_def name: (_) @name) @macro
(type_definition) @wrap
(comment) @note
"""
_CPP = f"""{_C}
(class_specifier name: (_) @name body: (_)) @class
(namespace_definition name: (_) @name) @namespace
(template_declaration) @wrap
"""

_TYPESCRIPT_PACKAGE = "tree-sitter-typescript"
C = Grammar(name="C", package="tree-sitter-c", query=_C)
CPP = Grammar(name="C++", package="tree-sitter-cpp", query=_CPP)
_JAVASCRIPT_GRAMMAR = Grammar(
    name="JavaScript", package="tree-sitter-javascript", query=_JAVASCRIPT
)
_PYTHON_GRAMMAR = Grammar(name="Python", package="tree-sitter-python", query=_PYTHON)

_BY_SUFFIX: Mapping[str, Sequence[Grammar]] = {
    **dict.fromkeys((".py", ".pyi"), (_PYTHON_GRAMMAR,)),
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs"), (_JAVASCRIPT_GRAMMAR,)),
    ".ts": (
        Grammar(
            name="TypeScript",
            package=_TYPESCRIPT_PACKAGE,
            query=_TYPESCRIPT,
            function="language_typescript",
        ),
    ),
    ".tsx": (
        Grammar(
            name="TypeScript",
            package=_TYPESCRIPT_PACKAGE,
            query=_TYPESCRIPT,
            function="language_tsx",
        ),
    ),
    ".go": (Grammar(name="Go", package="tree-sitter-go", query=_GO),),
    ".rs": (Grammar(name="Rust", package="tree-sitter-rust", query=_RUST),),
    ".java": (Grammar(name="Java", package="tree-sitter-java", query=_JAVA),),
    ".c": (C,),
    # Which of the two a header is for, it does not say.
    ".h": (C, CPP),
    **dict.fromkeys((".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx"), (CPP,)),
}

PARSED_SUFFIXES = frozenset(_BY_SUFFIX)
"""Suffixes of files whose functions and classes can be told."""


def grammars_of(name: str) -> Sequence[Grammar]:
    """Give the grammars that a file of this name may be read by; none for other languages."""
    return _BY_SUFFIX.get(PurePath(name).suffix.lower(), ())


def packages_of(name: str) -> tuple[str, ...]:
    """Name the packages that have a say in what is found in files of this name."""
    found = grammars_of(name)
    return ("tree-sitter", *(grammar.package for grammar in found)) if found else ()


@cache
def is_installed(package: str) -> bool:
    """Say whether a package is there, without importing it."""
    return find_spec(package.replace("-", "_")) is not None


@cache
def compiled(grammar: Grammar) -> tuple[Any, Any]:
    """Give a grammar's language and its query, as the package ``tree-sitter`` wants them."""
    from tree_sitter import Language, Query

    language = Language(getattr(import_module(grammar.module), grammar.function)())
    return language, Query(language, grammar.query)
