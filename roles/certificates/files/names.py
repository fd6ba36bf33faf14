"""Say by what names and addresses a certificate is for, as they stand in it.

Reads {"host": [names of the host], "list": certificates_list} and writes {certificate: [names]}. A client is known by its
common name, so only servers get the names of the host.
"""

import ipaddress
import json
import sys


def entry(name: str) -> str:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return "DNS:" + name.lower()
    # An address that counts only on its own link says nothing about a host.
    return "" if address.is_link_local else f"IP:{address.compressed}"


def names(item: dict) -> list[str]:
    all_of_it = item.get("dns_names", []) + item.get("ip_addresses", [])
    if "serverAuth" in item["usage"]:
        all_of_it += told["host"]
    return sorted({entry(name) for name in all_of_it if name} - {""})


told = json.load(sys.stdin)
print(json.dumps({item["name"]: names(item) for item in told["list"]}))
