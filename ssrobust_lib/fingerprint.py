"""Fingerprints of code and settings: a result is found again only under what made it.

The code's fingerprint ignores comments, docstrings and layout, so that rewording a docstring recomputes nothing,
and covers every module of the library that a step's module imports, directly or through others.
"""

import ast
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent
PARSED = PACKAGE.parent / "runs" / ".parsed.json"
# what shows, schedules or stores results but cannot change them
_OUTSIDE = {
    "figures",
    "cli",
    "config",
    "profile_sections",
    "study",
    "store",
    "fingerprint",
    "registry",
    "book",
    "running",
    "progress",
}
_EMPTY = hashlib.sha256(ast.dump(ast.Module(body=[], type_ignores=[])).encode()).hexdigest()


def settings_key(settings: Any) -> str:
    """SHA-256 (hex) of settings in canonical JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


@cache
def code_key(module: str) -> str:
    """SHA-256 (hex) over a module of the library (``cells.pretext``) and all it imports from the library."""
    files = sorted(_closure(_file(module)))
    parts = [(str(file.relative_to(PACKAGE)), _read(file).digest) for file in files]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _file(module: str) -> Path | None:
    path = PACKAGE.joinpath(*module.split("."))
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").is_file() else None


def _closure(start: Path | None) -> set[Path]:
    found: set[Path] = set()
    waiting = [start] if start else []
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        if file.name == "__init__.py" and file.parent != PACKAGE and not _read(file).empty:
            waiting += file.parent.glob("*.py")  # its modules register themselves when it is imported
        inside = [name for name in _read(file).imports if name.split(".")[0] not in _OUTSIDE]
        waiting += [path for path in map(_file, inside) if path is not None and path not in found]
    return found


@dataclass(frozen=True)
class _Module:
    """What counts of one source file: the digest of its normal form, and what it imports from the library."""

    digest: str
    imports: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether the file holds no code: the description of a package whose modules are imported one by one."""
        return self.digest == _EMPTY


@cache
def _read(file: Path) -> _Module:
    """Parse a file, or find it in the table of files parsed before (by content, so that it cannot be out of date)."""
    content = file.read_bytes()
    name = hashlib.sha256(content).hexdigest()
    known = _parsed_before()
    if name not in known:
        tree = ast.parse(content)
        known[name] = [hashlib.sha256(_normal_form(tree).encode()).hexdigest(), *_imports(tree)]
        _remember(known)
    return _Module(known[name][0], tuple(known[name][1:]))


@cache
def _parsed_before() -> dict[str, list[str]]:
    try:
        return json.loads(PARSED.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _remember(known: dict[str, list[str]]) -> None:
    """Keep the table for the next process; a disk that refuses it costs time and nothing else."""
    try:
        PARSED.parent.mkdir(parents=True, exist_ok=True)
        aside = PARSED.with_name(f"{PARSED.name}.{os.getpid()}")
        aside.write_text(json.dumps(known), encoding="utf-8")
        os.replace(aside, PARSED)
    except OSError:
        return


def _imports(tree: ast.Module) -> list[str]:
    """Names below the library that a module imports anywhere, functions included."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ssrobust_lib":
            base = (node.module or "").removeprefix("ssrobust_lib").lstrip(".")
            names |= {f"{base}.{alias.name}".lstrip(".") for alias in node.names} | ({base} if base else set())
        elif isinstance(node, ast.Import):
            names |= {a.name.removeprefix("ssrobust_lib.") for a in node.names if a.name.startswith("ssrobust_lib.")}
    return sorted(names)


def _normal_form(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not body:
            continue
        first = body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = body[1:]
    return ast.dump(tree)
