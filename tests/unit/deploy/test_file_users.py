# Copyright (c) Netcure and contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.netcure.soc.plugins.module_utils._core.clock import clock
from ansible_collections.netcure.soc.plugins.module_utils._core.errors import ConfigError, InputError, StateError
from ansible_collections.netcure.soc.plugins.module_utils._core.module import Run
from ansible_collections.netcure.soc.plugins.module_utils._deploy import files
from ansible_collections.netcure.soc.plugins.module_utils._deploy.file_users import (
    User,
    apply,
    argument_spec,
    hashed,
    plan,
    verifies,
    wanted_of,
)

# Two hashes with which a real 8.19 let somebody in as gehéim-wacht and geheim-wacht.
REAL = "{PBKDF2}50000$0PxrHuQoVlFEpY8Ml1tzeNj9vL00eIRuawsMSPGWZT8=$nY4tOzUaoQwJDptFyXx5J0B5C7OPXBU5po3SmcP5/5E="
QUICK = "{PBKDF2}10000$BXbNXbBb3sSneiMPcGfiI8n23oty+GxZz6QeTLy8Me0=$Z7EwWaQY597z5Yi2RhywOrB6jsOmh9hHUTzdG2xqpfU="
# One for which it did not know the function.
UNKNOWN = "{PBKDF2}12345$fwRFzp9d7+HjgAY2egJ35xE6G+NeXRDOu4cIFUNvKEQ=$fYqKxUbUMzQqXSffwIA1sf0njGTsqJUKDg7tHjHdxrc="
BCRYPT = "$2a$10$OVH7r3NwbrvK0pZ9aUIhRuJzLnXTpGXV3vF4N0YqOZ0fxS1bPUXnG"


class TestHashes:
    def test_as_elasticsearch_has_them(self) -> None:
        assert verifies("gehéim-wacht", REAL) and verifies("geheim-wacht", QUICK)
        assert not verifies("another", REAL)

    @pytest.mark.parametrize(
        "told", [UNKNOWN, BCRYPT, "", "{PBKDF2}", "{PBKDF2}50000$x$y", "{PBKDF2}ten$x$y", REAL[8:]]
    )
    def test_what_elasticsearch_or_we_cannot_tell_does_not_verify(self, told: str) -> None:
        assert not verifies("geheim-wacht", told)

    def test_ours(self) -> None:
        assert verifies("a password", hashed("a password")) and hashed("a password") != hashed("a password")
        assert hashed("x").startswith("{PBKDF2}50000$")


USERS = f"# by hand\nanna:{QUICK}\n\nbert:{BCRYPT}\n"
ROLES = "# by hand\nsuperuser:anna,bert\nviewer: bert , carl\n"


def decide(
    *users: User, purge: bool = False, users_text: str = USERS, roles_text: str = ROLES
) -> tuple[dict, str, str]:
    told = plan(users_text, roles_text, users, purge, lambda password: f"HASH({password})")
    return told.actions, told.users, told.users_roles


ANNA = User("anna", "geheim-wacht", ("superuser",))


class TestPlan:
    def test_what_is_right_stays_byte_for_byte(self) -> None:
        for text in (USERS, USERS.rstrip("\n"), USERS + "\n\n"):
            assert decide(ANNA, users_text=text) == ({}, text, ROLES)

    def test_a_new_user_is_added_and_others_stay(self) -> None:
        actions, users, roles = decide(ANNA, User("dora", "new-password", ("viewer", "editor")))
        assert actions == {"dora": "created"}
        assert users == USERS + "dora:HASH(new-password)\n"
        assert roles == "# by hand\nsuperuser:anna,bert\nviewer:bert,carl,dora\neditor:dora\n"

    def test_another_password_is_one_line(self) -> None:
        actions, users, roles = decide(User("anna", "another-one", ("superuser",)))
        assert (actions, roles) == ({"anna": "updated"}, ROLES)
        assert users == USERS.replace(QUICK, "HASH(another-one)")

    def test_a_hash_of_another_function_is_replaced(self) -> None:
        assert decide(User("bert", "whatever", ("superuser", "viewer")))[0] == {"bert": "updated"}

    def test_a_user_has_the_roles_that_are_wanted_and_no_others(self) -> None:
        actions, users, roles = decide(User("anna", "geheim-wacht", ("viewer",)))
        assert (actions, users) == ({"anna": "updated"}, USERS)
        assert roles == "# by hand\nsuperuser:bert\nviewer:bert,carl,anna\n"

    def test_a_role_of_nobody_goes(self) -> None:
        assert decide(ANNA, User("bert", None), User("carl", None))[2] == "# by hand\nsuperuser:anna\n"

    def test_removing(self) -> None:
        actions, users, _roles = decide(User("bert", None), User("nobody", None))
        assert actions == {"bert": "deleted"} and users == f"# by hand\nanna:{QUICK}\n\n"

    def test_purge_takes_everybody_else(self) -> None:
        actions, users, roles = decide(ANNA, purge=True)
        assert actions == {"bert": "deleted", "carl": "deleted"}
        assert users == f"# by hand\nanna:{QUICK}\n\n" and roles == "# by hand\nsuperuser:anna\n"

    def test_from_nothing(self) -> None:
        assert decide(ANNA, users_text="", roles_text="") == (
            {"anna": "created"},
            "anna:HASH(geheim-wacht)\n",
            "superuser:anna\n",
        )

    @pytest.mark.parametrize("text", ["anna\n", "anna:x\nanna:y\n", ":x\n"])
    def test_a_file_that_is_wrong_is_not_guessed_at(self, text: str) -> None:
        with pytest.raises(InputError, match="of the file users"):
            decide(ANNA, users_text=text)
        with pytest.raises(InputError, match="of the file users_roles"):
            decide(ANNA, roles_text=text)


@pytest.mark.parametrize(
    ("values", "passwords", "told"),
    [
        ({"username": "a:b"}, {}, "is no name of a user"),
        ({"username": "#a"}, {}, "is no name of a user"),
        ({"username": ""}, {}, "is no name of a user"),
        ({"roles": ["a,b"]}, {}, "is no name of a role"),
        ({}, {}, "needs a password"),
        ({}, {"a": "short"}, "needs a password"),
        ({}, {"a": 12345}, "needs a password"),
        ({}, {"a": "long-enough", "b": "long-enough"}, "names b, of whom users says nothing"),
    ],
)
def test_what_cannot_work_is_refused(values: dict, passwords: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        wanted_of([{"username": "a", "roles": [], "state": "present", **values}], passwords)
    assert "long-enough" not in caught.value.message


def test_a_password_of_digits_alone() -> None:
    (user,) = wanted_of([{"username": "a", "roles": [], "state": "present"}], {"a": 123456})
    assert user.password == "123456"


def test_a_user_is_listed_once() -> None:
    entry = {"username": "a", "roles": [], "state": "absent"}
    with pytest.raises(ConfigError, match="twice"):
        wanted_of([entry, entry], {})


def run(folder: Path, *users: dict, check_mode: bool = False, **options: object) -> dict:
    params = {name: option.get("default") for name, option in argument_spec().options.items()}
    entries = [{"roles": [], "state": "present", **user} for user in users]
    params |= {"config_dir": str(folder), "owner": None, "group": None, "users": entries, **options}
    params["passwords"] = {user["username"]: "new-password" for user in users}
    return apply(Run(params, check_mode, clock(), "", print))


class TestApply:
    DORA = {"username": "dora", "roles": ["viewer"]}

    def test_check_run_and_again(self, tmp_path: Path) -> None:
        assert run(tmp_path, self.DORA, check_mode=True)["changed"] and not list(tmp_path.iterdir())
        done = run(tmp_path, self.DORA)
        assert done["users"] == [{"username": "dora", "action": "created"}] and "new-password" not in str(done)
        assert "PBKDF2" not in str(done)
        assert (tmp_path / "users_roles").read_text() == "viewer:dora\n"
        assert (tmp_path / "users").stat().st_mode & 0o777 == 0o640
        before = (tmp_path / "users").read_bytes()
        assert not run(tmp_path, self.DORA)["changed"] and (tmp_path / "users").read_bytes() == before

    def test_the_mode_is_corrected(self, tmp_path: Path) -> None:
        run(tmp_path, self.DORA)
        (tmp_path / "users").chmod(0o644)
        assert run(tmp_path, self.DORA, check_mode=True)["changed"]
        assert run(tmp_path, self.DORA)["changed"] and not run(tmp_path, self.DORA)["changed"]

    def test_files_that_are_not_text(self, tmp_path: Path) -> None:
        (tmp_path / "users").write_bytes(b"\xff:x\n")
        with pytest.raises(InputError, match="not text"):
            run(tmp_path, self.DORA)

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        assert run(tmp_path / "none", self.DORA, check_mode=True)["changed"]
        with pytest.raises(StateError, match="The folder must be there"):
            run(tmp_path / "none", self.DORA)


class TestFiles:
    def test_the_mode_is_right_whatever_the_umask(self, tmp_path: Path) -> None:
        umask = os.umask(0)
        try:
            files.write(str(tmp_path / "x"), b"secret", files.Access(None, None, 0o600))
        finally:
            os.umask(umask)
        assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600

    def test_a_write_that_fails_leaves_the_old_one_and_no_draft(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "x").write_bytes(b"old")

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(files.os, "fsync", full)
        with pytest.raises(StateError, match="No space left"):
            files.write(str(tmp_path / "x"), b"new", files.Access(None, None, 0o600))
        assert (tmp_path / "x").read_bytes() == b"old" and [path.name for path in tmp_path.iterdir()] == ["x"]

    def test_who_is_not_on_the_host(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="There is no user nobody-has-this"):
            files.write(str(tmp_path / "x"), b"new", files.Access("nobody-has-this", None, 0o600))
        assert not files.Access("nobody-has-this", None, 0o600).holds(str(tmp_path))

    def test_removing_twice(self, tmp_path: Path) -> None:
        (tmp_path / "x").touch()
        files.remove(str(tmp_path / "x"))
        files.remove(str(tmp_path / "x"))
        assert files.read(str(tmp_path / "x")) is None
