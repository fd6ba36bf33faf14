# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role nginx writes and refuses, without a host. What nginx makes of it, the Molecule scenarios show."""

from __future__ import annotations

import io
import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.conftest import ROOT, run_playbook

ROLE = ROOT / "roles/nginx"
SITE = {"name": "plain", "server_name": ["plain.soc.example"], "upstream": "http://127.0.0.1:8081"}
FOUND = {
    "nginx_version": "1.22.1",
    "nginx_ipv6": True,
    "nginx_hybrid": False,
    "nginx_stapled": ["site-n8n.crt"],
    "ansible_managed": "Ansible managed",
}
LISTED = [
    {**SITE, "upstream": ["http://192.0.2.1:80", "http://[2001:db8::1]"], "rate": {"requests": 0, "burst": 0}},
    {
        **SITE,
        "name": "n8n",
        "kind": "n8n",
        "server_name": ["n8n.soc.example", "*.n8n.soc.example"],
        "allow": ["192.0.2.0/24"],
        "certificate": "/srv/n8n.crt",
        "certificate_key": "/srv/n8n.key",
        "extra": ["proxy_cookie_flags ~ secure"],
    },
    {
        **SITE,
        "name": "kibana",
        "kind": "kibana",
        "server_name": ["kibana.soc.example"],
        "upstream": "https://kibana.internal",
        "auth": "basic",
    },
    {
        **SITE,
        "name": "thehive",
        "kind": "thehive",
        "server_name": ["thehive.soc.example"],
        "client_certificate": "required",
        "headers": {"X-Frame-Options": "DENY", "Referrer-Policy": ""},
    },
    {**SITE, "name": "grafana", "kind": "grafana", "server_name": ["grafana.soc.example"], "auth": "oidc"},
    {**SITE, "name": "gone", "server_name": ["gone.soc.example"], "state": "absent"},
]
CASES = {
    "empty": {"nginx_sites": []},
    "old": {
        "nginx_sites": LISTED,
        "nginx_oidc_auth_url": "http://127.0.0.1:4180/oauth2/auth",
        "nginx_oidc_signin_url": "https://login.soc.example/oauth2/start",
    },
    "new": {
        "nginx_sites": [SITE],
        "nginx_version": "1.26.3",
        "nginx_hybrid": True,
        "nginx_ipv6": False,
        "nginx_http_port": 0,
        "nginx_https_port": 8443,
        "nginx_tls_profile": "modern",
        "nginx_hsts": 0,
        "nginx_include": ["/srv/more.conf"],
    },
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The configuration for each case."""
    folder = tmp_path_factory.mktemp("nginx")
    tasks = [
        {
            "ansible.builtin.template": {"src": str(ROLE / "templates/nginx.conf.j2"), "dest": str(folder / name)},
            "vars": {**FOUND, **case},
        }
        for name, case in CASES.items()
    ]
    files = [str(ROLE / "vars/main.yml"), str(ROLE / "defaults/main.yml")]
    play = [{"hosts": "localhost", "gather_facts": False, "vars_files": files, "tasks": tasks}]
    done = run_playbook(yaml.safe_dump(play), {}, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: (folder / name).read_text() for name in CASES}


def servers(text: str) -> dict[str, str]:
    """The blocks ``server`` of TLS, by the first of their names."""
    blocks = re.split(r"^    server \{$", text, flags=re.MULTILINE)[1:]
    return {re.search(r"server_name ([^\s;]+)", block)[1]: block for block in blocks if " ssl" in block}


def test_without_sites_everybody_is_refused(written: dict[str, str]) -> None:
    text = written["empty"]
    assert list(servers(text)) == ["_"]
    assert "ssl_reject_handshake on;" in text and "return 444;" in text and "return 301" not in text
    assert "proxy_pass" not in text and "ssl_certificate" not in text


def test_each_version_is_spoken_to_in_its_own_way(written: dict[str, str]) -> None:
    assert "ssl http2;" in written["old"] and "http2 on;" not in written["old"]
    assert "http2 on;" in written["new"] and "ssl http2;" not in written["new"]
    assert "[::]" in written["old"] and "[::]" not in written["new"]
    assert "X25519MLKEM768" in written["new"] and "X25519MLKEM768" not in written["old"]


def test_the_profile_decides_over_protocols_and_ciphers(written: dict[str, str]) -> None:
    ciphers = re.search("ssl_ciphers (.*);", written["old"])[1].split(":")
    assert len(ciphers) == 6 and all("ECDHE" in cipher and ("GCM" in cipher or "POLY" in cipher) for cipher in ciphers)
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in written["old"]
    assert "ssl_protocols TLSv1.3;" in written["new"] and "ssl_ciphers" not in written["new"]


def test_without_port_80_nothing_listens_there_and_includes_are_read(written: dict[str, str]) -> None:
    assert set(re.findall(r"listen (\S+)", written["new"])) == {"8443"}
    assert "include /srv/more.conf;" in written["new"] and "Strict-Transport-Security" not in written["new"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("n8n.soc.example", ["proxy_buffering off", "Connection $soc_connection", "proxy_read_timeout 3600s"]),
        ("thehive.soc.example", ["proxy_buffering off", "proxy_read_timeout 600s", "client_max_body_size 2g"]),
        ("kibana.soc.example", ['Connection ""', "proxy_buffering on", "proxy_read_timeout 300s"]),
        ("grafana.soc.example", ["Connection $soc_connection", "proxy_buffering on"]),
        ("plain.soc.example", ['Connection ""', "proxy_read_timeout 60s", "client_max_body_size 10m"]),
    ],
)
def test_a_kind_brings_what_its_product_wants(written: dict[str, str], name: str, wanted: list[str]) -> None:
    block = servers(written["old"])[name]
    assert not [piece for piece in [*wanted, "proxy_http_version 1.1"] if piece + ";" not in block]


def test_upstreams_over_https_are_verified(written: dict[str, str]) -> None:
    block = servers(written["old"])["kibana.soc.example"]
    for piece in ("proxy_ssl_verify on", "proxy_ssl_server_name on", "proxy_ssl_name kibana.internal"):
        assert piece + ";" in block
    assert "server kibana.internal:443;" in written["old"]
    assert written["old"].count("proxy_pass https:") == written["old"].count("proxy_ssl_verify on;")
    assert "server 192.0.2.1:80;" in written["old"] and "server [2001:db8::1]:80;" in written["old"]


def test_no_location_hides_the_headers_of_its_server(written: dict[str, str]) -> None:
    for name, block in servers(written["old"]).items():
        before, *locations = block.split("location ")
        assert name == "_" or before.count("add_header") >= 5
        assert not any("add_header" in location for location in locations)
        assert all(line.endswith(" always;") for line in before.splitlines() if "add_header" in line)
    block = servers(written["old"])["thehive.soc.example"]
    assert 'add_header X-Frame-Options "DENY" always;' in block and "Referrer-Policy" not in block


def test_what_a_client_says_of_who_it_is_reaches_no_upstream(written: dict[str, str]) -> None:
    stripped = yaml.safe_load((ROLE / "vars/main.yml").read_text("utf-8"))["nginx_stripped"]
    for name, block in servers(written["old"]).items():
        if name != "_":
            assert all(f'proxy_set_header {header} "";' in block for header in [*stripped, "Forwarded"])
            assert "X-Forwarded-For $remote_addr;" in block and "$proxy_add_x_forwarded_for" not in block
    user = {
        name: re.search("X-Auth-Request-User (.*);", block)[1]
        for name, block in servers(written["old"]).items()
        if name != "_"
    }
    assert user.pop("kibana.soc.example") == "$remote_user" and user.pop("grafana.soc.example") == "$soc_oidc_user"
    assert set(user.values()) == {'""'}


def test_only_a_certificate_whose_authority_answers_is_stapled(written: dict[str, str]) -> None:
    assert [name for name, block in servers(written["old"]).items() if "ssl_stapling on;" in block] == [
        "n8n.soc.example"
    ]


def test_who_is_let_in(written: dict[str, str]) -> None:
    blocks = servers(written["old"])
    assert "auth_basic_user_file /etc/nginx/users;" in blocks["kibana.soc.example"]
    assert 'proxy_set_header Authorization "";' in blocks["kibana.soc.example"]
    assert "auth_request /.soc-auth;" in blocks["grafana.soc.example"] and "internal;" in blocks["grafana.soc.example"]
    assert "ssl_verify_client on;" in blocks["thehive.soc.example"]
    assert "ssl_verify_client" not in blocks["plain.soc.example"]
    assert "limit_req " not in blocks["plain.soc.example"] and "limit_req zone=soc-n8n " in blocks["n8n.soc.example"]
    allowed = blocks["n8n.soc.example"]
    assert allowed.index("allow 192.0.2.0/24;") < allowed.index("deny all;")
    assert "gone.soc.example" not in written["old"]


def test_every_line_of_the_log_is_json_without_queries(written: dict[str, str]) -> None:
    block = re.search(r"log_format soc_ecs escape=json (.*?);\n", written["old"], flags=re.DOTALL)[1]
    line = "".join(re.findall("'(.*?)'", block))
    document = json.loads(re.sub(r"\$\w+", "1", line))
    assert {"@timestamp", "ecs.version", "url.path", "source.ip", "user.name", "http.request.method"} <= set(document)
    # Text that others choose goes through a map that lets only UTF-8 pass.
    assert not set(re.findall(r"\$(\w+)", line)) & {
        "request_uri", "request", "args", "uri", "host", "http_user_agent", "http_referer", "remote_user", "ssl_client_s_dn",
    }  # fmt: skip


def test_utf8_is_what_the_maps_let_pass(written: dict[str, str]) -> None:
    pattern = re.search(r'"~\^\((\?:\[\\x01-\\x7f\].*?)\)\+\+\$" \$http_user_agent', written["old"])[1]
    letters = re.compile(b"(" + pattern.encode() + b")+", re.DOTALL)
    for good in ("a", "é", "€", "\ud7ff", "\ue000", "😀", "\U0010ffff"):
        assert letters.fullmatch(good.encode("utf-8"))
    for bad in (
        b"\xff",
        b"\xc3",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
    ):
        assert not letters.fullmatch(bad)


REFUSED = {
    "name with a directive": ({"name": "a; b"}, "name of small letters"),
    "server_name with a newline": ({"server_name": ["a.soc.example\n"]}, "Its server_name is"),
    "server_name with a brace": ({"server_name": ["a}"]}, "Its server_name is"),
    "address of numbers": ({"server_name": ["192.0.2.1"]}, "TLS knows no addresses"),
    "no server_name": ({"server_name": []}, "Its server_name is"),
    "upstream with braces": ({"upstream": "http://127.0.0.1:80; } server { listen 99; "}, "Its upstream is"),
    "upstream with a path": ({"upstream": "http://127.0.0.1/x"}, "without a path"),
    "upstream with a newline": ({"upstream": "http://127.0.0.1:80\n"}, "Its upstream is"),
    "upstreams of two kinds": ({"upstream": ["http://a", "https://a"]}, "all http or all https"),
    "https by number": ({"upstream": "https://192.0.2.1"}, "upstream_name"),
    "https of two hosts": ({"upstream": ["https://a", "https://b"]}, "upstream_name"),
    "certificate without its key": ({"certificate": "/a.crt"}, "both certificate and certificate_key"),
    "path with a semicolon": ({"upstream_ca_path": "/a;b"}, "absolute paths"),
    "body of nonsense": ({"max_body": "1m; x"}, "Its max_body"),
    "network of nonsense": ({"allow": ["all; deny"]}, "It allows"),
    "header with a quotation mark": ({"headers": {"X-A": 'a"; x'}}, "Its headers take"),
    "header with a variable": ({"headers": {"X-A": "$http_cookie"}}, "Its headers take"),
    "two directives in one": ({"extra": ["gzip off; gzip on"]}, "not one directive"),
    "a block in extra": ({"extra": ["if ($a) { return 200"]}, "not one directive"),
    "a comment in extra": ({"extra": ["gzip off #"]}, "not one directive"),
    "a header in extra": ({"extra": ["add_header X-A b"]}, "not one directive"),
    "a network in extra": ({"extra": ["deny 192.0.2.66"]}, "networks in allow"),
    "a limit in extra": ({"extra": ["limit_req zone=soc-a"]}, "limits in rate"),
    "passwords without users": ({"auth": "basic"}, "nginx_basic_users is empty"),
    "OpenID Connect without addresses": ({"auth": "oidc"}, "nginx_oidc_auth_url"),
    "client certificates without an authority": ({"client_certificate": "optional"}, "nginx_client_ca_path is empty"),
}
REFUSED_AT_LARGE = {
    "one port for two": ({"nginx_http_port": 443}, "give two ports"),
    "two sites of one name": ({"nginx_sites": [SITE, {**SITE, "server_name": ["b.soc.example"]}]}, "have one name"),
    "two sites for one name": ({"nginx_sites": [SITE, {**SITE, "name": "b"}]}, "answer to one server_name"),
    "logs of the package": ({"nginx_log_dir": "/var/log/nginx/"}, "nginx_log_dir"),
    "include with a directive": ({"nginx_include": ["/a; b"]}, "nginx_include"),
    "sign-in with a query": ({"nginx_oidc_signin_url": "https://a/b?c=$d"}, "nginx_oidc_signin_url"),
    "user with a colon": ({"nginx_basic_users": {"a:b": "hidden"}}, "nginx_basic_users has a:b"),
    "password of two lines": ({"nginx_basic_users": {"a": "hidden\nb"}}, "nginx_basic_users has a:"),
}


def tasks_without_a_host(folder: Path) -> Path:
    """The tasks of preflight that look at nothing but the inventory."""
    tasks = yaml.safe_load((ROLE / "tasks/preflight.yml").read_text("utf-8"))
    path = folder / "tasks.yml"
    path.write_text(yaml.safe_dump([task for task in tasks[:3] if "ansible.builtin.assert" in task]))
    return path


def test_what_cannot_work_or_could_become_a_directive_is_refused(tmp_path: Path) -> None:
    cases = {name: ({"nginx_sites": [{**SITE, **site}]}, say) for name, (site, say) in REFUSED.items()}
    cases |= {name: (variables, say) for name, (variables, say) in REFUSED_AT_LARGE.items()}
    cases |= {name: (case, None) for name, case in CASES.items()}
    users = {"nginx_basic_users": {"anna": "hidden"}, "nginx_client_ca_path": "/srv/ca.crt"}
    cases["old"] = ({**CASES["old"], **users}, None)
    told = tmp_path / "told"
    file = str(tasks_without_a_host(tmp_path))
    blocks = [
        {
            "vars": variables,
            "block": [{"ansible.builtin.include_tasks": file}],
            "rescue": [
                {
                    "ansible.builtin.set_fact": {
                        "told": "{{ told | default({}) | combine({case: ansible_failed_result | to_json}) }}"
                    },
                    "vars": {"case": name},
                }
            ],
        }
        for name, (variables, _say) in cases.items()
    ]
    blocks.append({"ansible.builtin.copy": {"content": "{{ told | to_json }}", "dest": str(told), "mode": "0600"}})
    files = [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")]
    play = [{"hosts": "localhost", "gather_facts": False, "vars_files": files, "tasks": blocks}]
    done = run_playbook(yaml.safe_dump(play), {}, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hidden" not in done.stdout + done.stderr
    texts = json.loads(told.read_text())
    assert sorted(texts) == sorted(name for name, (_variables, say) in cases.items() if say)
    wrong = {
        name: texts[name]
        for name, (_variables, say) in cases.items()
        if say and (say not in texts[name] or "Nothing was changed" not in texts[name])
    }
    assert not wrong


def test_a_password_that_did_not_change_has_the_same_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "users"
    users = {"anna": """one 'two' "three" $four""", "bert": "b"}
    main = runpy.run_path(str(ROLE / "files/users.py"))["main"]
    guards = [True]
    monkeypatch.setitem(main.__globals__, "guarded", lambda _file: guards[-1])

    def look() -> dict:
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"file": str(file), "users": users})))
        main()
        return json.loads(capsys.readouterr().out)

    first = look()
    assert first["right"] is False
    assert [line.split(":")[0] for line in first["lines"]] == ["anna", "bert"]
    file.write_text("\n".join(first["lines"]) + "\n")
    assert look() == {"lines": first["lines"], "right": True}
    guards.append(False)
    assert look() == {"lines": first["lines"], "right": False}
    guards.pop()
    users["bert"] = "c"
    changed = look()
    assert changed["right"] is False
    assert changed["lines"][0] == first["lines"][0] and changed["lines"][1] != first["lines"][1]
    del users["bert"]
    assert look() == {"lines": first["lines"][:1], "right": False}


@pytest.mark.parametrize(
    ("files", "foreign"),
    [
        ({}, []),
        ({"sites-enabled/default": "x"}, []),
        ({"conf.d/mine.conf": "x", "sites-enabled/shop": "x"}, ["conf.d/mine.conf", "sites-enabled/shop"]),
        ({"nginx.conf": "# Written by us", "conf.d/mine.conf": "x"}, []),
    ],
    ids=["nothing", "Debian's page", "sites of somebody", "ours"],
)
def test_a_configuration_of_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], foreign: list[str]
) -> None:
    look = runpy.run_path(str(ROLE / "files/look.py"))["foreign"]
    monkeypatch.setitem(look.__globals__, "ETC", tmp_path)
    monkeypatch.setitem(look.__globals__, "DEBIAN", str(tmp_path / "sites-enabled/default"))
    monkeypatch.setitem(look.__globals__, "said", lambda *_command: "")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert look("Written by us") == [str(tmp_path / name) for name in foreign]


@pytest.mark.parametrize(
    ("told", "wrote", "outdated"),
    [
        (" 11  30\n 12 900", 60, False),
        (" 11  30\n 12 900", 10, True),
        ("", 60, True),
    ],
    ids=["reloaded since", "written since", "nothing runs"],
)
def test_a_configuration_that_no_reload_has_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, wrote: int, outdated: bool
) -> None:
    """``wrote``: seconds since the last file was written."""
    look = runpy.run_path(str(ROLE / "files/look.py"))
    files = look["workers"].__globals__
    (tmp_path / "nginx.conf").write_text("x")
    now = (tmp_path / "nginx.conf").stat().st_ctime + wrote
    for name, value in {
        "ETC": tmp_path,
        "TLS": tmp_path / "tls",
        "PID": tmp_path / "nginx.conf",
        "said": lambda *_command: told,
        "time": SimpleNamespace(time=lambda: now),
    }.items():
        monkeypatch.setitem(files, name, value)
    ages = look["workers"]()
    assert ages == ({11: 30, 12: 900} if told else {})
    assert look["outdated"](ages) is outdated
