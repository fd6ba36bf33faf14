# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to this collection: it may change in any release, do not import it from elsewhere.
"""From the printed page to PDF bytes, with nothing but what is in memory: no network, no file of the machine."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import signal
import traceback
import typing as t

from ansible.module_utils.basic import missing_required_lib

from .._core.errors import LibraryMissing, Refused
from .assets import Assets

TROUBLE: Exception | None = None
TRACEBACK = ""
try:
    import weasyprint
    from weasyprint.text.fonts import FontConfiguration
    from weasyprint.urls import URLFetcher, URLFetcherResponse
except (ImportError, OSError) as exc:
    # OSError: the Python part is there, but the shared libraries of Pango are not.
    TROUBLE, TRACEBACK = exc, traceback.format_exc()
    URLFetcher = object

SCHEME = "asset:"


class AssetFetcher(URLFetcher):
    """Serves ``asset:name`` from memory and refuses every other address, whatever brought it into the page."""

    def __init__(self, assets: Assets) -> None:
        super().__init__(allowed_protocols=("asset",), allow_redirects=False)
        self.assets = assets

    def fetch(self, url: str, headers: dict | None = None) -> URLFetcherResponse:
        name = url.removeprefix(SCHEME)
        if name == url or name not in self.assets:
            raise ValueError(f"not part of the report: {url[:200]}")
        return URLFetcherResponse(url, self.assets[name])


def need_engine() -> None:
    """Raise LibraryMissing when PDFs cannot be made here, saying which half is missing."""
    if isinstance(TROUBLE, OSError):
        raise LibraryMissing(
            "WeasyPrint is installed, but the libraries of Pango that it draws text with are not. Install them (Debian: "
            "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0; Red Hat: pango), or ask for formats: [html] only.",
            traceback=TRACEBACK,
        )
    if TROUBLE is not None:
        raise LibraryMissing(
            missing_required_lib("weasyprint >= 70", reason="to make a PDF")
            + " The role netcure.soc.runtime installs it; without it, ask for formats: [html] only.",
            traceback=TRACEBACK,
        )


def make(page: str, assets: Assets, timeout: float) -> tuple[bytes, int]:
    """The PDF of ``page`` and its number of pages; the same page gives the same bytes.

    Tagged as PDF/UA-1. Raises LibraryMissing, and Refused after ``timeout`` seconds (0: no limit).
    """
    need_engine()
    fonts = FontConfiguration()
    options = {"pdf_variant": "pdf/ua-1", "pdf_identifier": hashlib.sha256(page.encode("utf-8")).digest()[:16]}
    with _deadline(timeout), _less_garbage_collection():
        document = weasyprint.HTML(string=page, url_fetcher=AssetFetcher(assets)).render(font_config=fonts, **options)
        content = document.write_pdf(**options)
    return content, len(document.pages)


class _TimeIsUp(BaseException):
    """Not an Exception: the engine catches those here and there, and goes on."""


@contextlib.contextmanager
def _deadline(seconds: float) -> t.Iterator[None]:
    def stop(_signal: int, _frame: object) -> None:
        raise _TimeIsUp

    if not seconds:
        yield
        return
    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TimeIsUp:
        raise Refused(
            f"The PDF was not ready after {seconds:g} seconds, and nothing was written. Report on less at a time, raise "
            "limits.pdf_seconds, or ask for formats: [html]."
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@contextlib.contextmanager
def _less_garbage_collection() -> t.Iterator[None]:
    """Layout makes millions of long-lived boxes; looking through them all the time costs a tenth of the run.

    Rarer still is hardly faster, and 500 findings then take 50 MiB more.
    """
    before = gc.get_threshold()
    gc.set_threshold(20_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
