# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""Identities: document ids, content digests, index names."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from .errors import ConfigError
from .libraries import orjson

# Elasticsearch allows 255 bytes for an index name; the rest is "soc-", source, set and a suffix.
SLUG_LENGTH = 60


def document_id(source: str, data_set: str, tenant: str, vendor_id: str) -> str:
    """BLAKE2b-128 (RFC 7693) over the four parts, as 32 hexadecimal digits: the Elasticsearch ``_id``.

    The parts are joined as a JSON array, so that no two different quadruples give the same bytes.
    """
    return hashlib.blake2b(orjson.dumps([source, data_set, tenant, vendor_id]), digest_size=16).hexdigest()


def content_digest(record: object) -> str:
    """BLAKE2b-128 of a JSON value in canonical form (sorted keys): equal for equal content."""
    return hashlib.blake2b(orjson.dumps(record, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def slug(name: str) -> str:
    """A company's name as the last part of an index name: lower case ASCII letters, digits and single hyphens."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name)[:SLUG_LENGTH].strip("-")


def index_name(source: str, data_set: str, company: str) -> str:
    """``soc-<source>.<set>-<company>``, where ``company`` is a slug."""
    return f"soc-{source}.{data_set.replace('_', '-')}-{company}"


def check_index_pattern(pattern: str) -> str:
    """``pattern`` when it can only match indices of this product, else ConfigError."""
    if not re.fullmatch(r"soc-[a-z0-9.*_-]+", pattern):
        raise ConfigError(
            f"The index pattern {pattern!r} is refused: only patterns that start with soc- may be named here."
        )
    return pattern
