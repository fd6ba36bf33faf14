# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The invented clients of the lab. Names end in .example, public addresses are those of RFC 5737."""

from __future__ import annotations

import dataclasses
import uuid

from ansible_collections.netcure.soc.plugins.module_utils._core.ids import slug

NAMESPACE = uuid.UUID("6f0c2a5e-5b0e-4f57-9f6f-5c1d0d6e8a11")


@dataclasses.dataclass(frozen=True)
class Company:
    """One client: how each vendor names it, its network, and how much happens there."""

    number: int
    name: str
    domain: str
    weight: float  # alarms in comparison with the average client
    subscribed: bool = True  # to CyberAlarm
    firewall: bool = False  # a Firebox, and an account at WatchGuard Cloud

    @property
    def slug(self) -> str:
        """Its part of the names of indices."""
        return slug(self.name)

    @property
    def short(self) -> str:
        """Its part of the names of its machines."""
        return self.domain.partition(".")[0]

    @property
    def ids(self) -> dict[str, str]:
        """Its id at each source: every vendor has its own."""
        return {
            "cyberalarm": f"c{self.number}",
            "guardian360": str(uuid.uuid5(NAMESPACE, self.domain)),
            "watchguard": f"WGC-1-{uuid.uuid5(NAMESPACE, f'watchguard/{self.domain}').hex[:20]}",
        }

    @property
    def firebox(self) -> tuple[str, str]:
        """Name and serial number of its Firebox, whether it has one or not."""
        return f"FW-{self.short.upper()}", f"FVE{uuid.uuid5(NAMESPACE, f'firebox/{self.domain}').hex[:10].upper()}"

    @property
    def network(self) -> str:
        """The first three numbers of its internal network."""
        return f"10.{20 + self.number}.0"


COMPANIES = (
    Company(1, "Zorggroep Sint-Jozef vzw", "sint-jozef.example", 1.6, firewall=True),
    Company(2, "Transport Coppée SA", "coppee.example", 1.2, firewall=True),
    Company(3, "Müller & Zonen BV", "muller-zonen.example", 1.0, firewall=True),
    Company(4, "Brouwerij De Zwaluw NV", "de-zwaluw.example", 1.0),
    # Two names of which one ends like the other: a careless pattern for indices gives one the other's data.
    Company(5, "Het Groene Hart BV", "groene-hart.example", 0.8),
    Company(6, "Tuincentrum Het Groene Hart BV", "tuincentrum-gh.example", 0.6),
    Company(7, "Notariaat Lefèvre-Janssens", "lefevre-janssens.example", 0.6),
    # A client for vulnerability scans only.
    Company(8, "Gemeente Oostdijk", "oostdijk.example", 1.2, subscribed=False, firewall=True),
)


def find(key: str) -> Company:
    """The company with this name, slug, or id at any vendor. Raises KeyError."""
    for company in COMPANIES:
        if key in (company.name, company.slug, *company.ids.values()):
            return company
    raise KeyError(f"There is no company {key!r}; there are: {', '.join(company.slug for company in COMPANIES)}.")
