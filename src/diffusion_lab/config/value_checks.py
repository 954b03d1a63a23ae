"""Checks of single values of settings."""

from __future__ import annotations

import re

#: File systems allow 255 bytes.
_LONGEST_NAME = 200


def check_folder_name(key: str, name: str) -> None:
    """Raise ValueError, naming the key, if a folder cannot have this name."""
    if not re.fullmatch(r"[\w\-+=,. ]*[\w\-+=, ]", name) or not name.strip():
        raise ValueError(f"{key} must be a folder's name, of letters, digits, '-', '_', '.', got {name!r}")
    if len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"{key} must have {_LONGEST_NAME} bytes at most, got {len(name.encode())}: {name[:40]}…")


def at_least(least: int, key: str, value: int) -> None:
    """Raise ValueError, naming the key, if the value is smaller."""
    if value < least:
        raise ValueError(f"{key} must be at least {least}, got {value}")


def below_2_to_32(key: str, value: int) -> None:
    """Raise ValueError, naming the key, if the value is no 32-bit seed."""
    if value >= 2**32:
        raise ValueError(f"{key} must be below 2**32, got {str(value)[:40]}")


def check_tags(key: str, tags: list[str]) -> None:
    """Raise ValueError, naming the key, if one of the tags is not a single word."""
    for tag in tags:
        if not re.fullmatch(r"[\w\-+.]{1,40}", tag):
            raise ValueError(f"{key}: a tag is a word of letters, digits, '-', '_', '+', '.', got {tag!r}")
