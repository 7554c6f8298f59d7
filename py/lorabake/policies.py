r"""What PowerShell's execution policies let our launchers do, and the one change that is offered: this user's own policy.

Explorer's "Run with PowerShell" sets Bypass for its own window unless the policy is AllSigned, so that works on most PCs; .\train.ps1 typed
into a console needs more than Windows' default, Restricted. What group policy says stands above all else and is never changed.
Source: https://learn.microsoft.com/powershell/module/microsoft.powershell.core/about/about_execution_policies (5.1)
Standard library only.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

GROUP_KEY = r"Software\Policies\Microsoft\Windows\PowerShell"
OWN_KEY = r"Software\Microsoft\PowerShell\1\ShellIds\Microsoft.PowerShell"
KEPT_KEY, KEPT_VALUE = r"Software\lorabake", "ExecutionPolicyBefore"  # what undoing brings back; "" for none
VALUE = "ExecutionPolicy"
OFFERED = "RemoteSigned"
SCOPES = ("machine group", "user group", "user", "machine")  # the first that says something holds
RUN_TYPED = {"remotesigned", "unrestricted", "bypass"}


@dataclass(frozen=True)
class Verdict:
    """What works. `scope` is one of SCOPES, or "Windows" for its default."""

    policy: str
    scope: str
    right_click: bool
    typed: bool

    @property
    def by_group(self) -> bool:
        """Whether group policy says so: then nothing that a user sets has an effect."""
        return self.scope.endswith("group")

    @property
    def offer(self) -> bool:
        """Whether the user's own policy would help."""
        return not (self.by_group or (self.right_click and self.typed))


def judge(values: Mapping[str, str]) -> Verdict:
    """What works under these policies: scope -> policy, scopes that say nothing absent or ''."""
    told = [(scope, values[scope]) for scope in SCOPES if values.get(scope, "").lower() not in {"", "undefined"}]
    scope, policy = told[0] if told else ("Windows", "Restricted")
    typed = policy.lower() in RUN_TYPED
    # a group's policy withstands what Explorer sets; AllSigned it does not even try
    right_click = typed if scope.endswith("group") else policy.lower() != "allsigned"
    return Verdict(policy, scope, right_click, typed)


def of_group(enabled: int | None, policy: str) -> str:
    """What a group policy's two values mean: scripts forbidden, a policy, or '' for nothing said."""
    if enabled is None:
        return ""
    return policy if enabled else "Restricted"


def sentence(verdict: Verdict) -> str:
    """For a person, '' when all is well."""
    if verdict.right_click and verdict.typed:
        return ""
    whose = {"Windows": "as Windows sets it", "user": "of this user", "machine": "of this PC"}.get(verdict.scope, "by group policy")
    fails = (
        "neither a right-click nor typing starts a .ps1" if not verdict.right_click else "a right-click works, typing .\\train.ps1 does not"
    )
    if verdict.by_group:
        fails += "; only who manages this PC can change that, but the shortcuts on the desktop work (setup.bat -Shortcuts)"
    return f"PowerShell's execution policy is {verdict.policy} ({whose}): {fails}"


def read() -> dict[str, str]:
    """The policies of this PC for `judge`; {} where there is no registry."""
    if sys.platform != "win32":
        return {}
    import winreg

    hives = {"machine": winreg.HKEY_LOCAL_MACHINE, "user": winreg.HKEY_CURRENT_USER}
    found = {}
    for name, hive in hives.items():
        enabled = _value(hive, GROUP_KEY, "EnableScripts")
        found[f"{name} group"] = of_group(int(enabled) if str(enabled).isdigit() else None, str(_value(hive, GROUP_KEY, VALUE) or ""))
        found[name] = str(_value(hive, OWN_KEY, VALUE) or "")
    return found


def allow() -> None:
    """Set this user's own policy to RemoteSigned, and keep what it was. Windows only."""
    if sys.platform != "win32":
        return
    import winreg

    before = str(_value(winreg.HKEY_CURRENT_USER, OWN_KEY, VALUE) or "")
    if before == OFFERED:
        return
    with winreg.CreateKey(winreg.HKEY_CURRENT_USER, KEPT_KEY) as key:
        winreg.SetValueEx(key, KEPT_VALUE, 0, winreg.REG_SZ, before)
    with winreg.CreateKey(winreg.HKEY_CURRENT_USER, OWN_KEY) as key:
        winreg.SetValueEx(key, VALUE, 0, winreg.REG_SZ, OFFERED)


def undo() -> str | None:
    """Bring back what `allow` changed: the policy before ('' for none), None where there is nothing to undo."""
    if sys.platform != "win32":
        return None
    import winreg

    before = _value(winreg.HKEY_CURRENT_USER, KEPT_KEY, KEPT_VALUE)
    if before is None:
        return None
    if _value(winreg.HKEY_CURRENT_USER, OWN_KEY, VALUE) == OFFERED:  # else somebody has changed it since, and that stands
        with winreg.CreateKey(winreg.HKEY_CURRENT_USER, OWN_KEY) as key:
            if before:
                winreg.SetValueEx(key, VALUE, 0, winreg.REG_SZ, str(before))
            else:
                winreg.DeleteValue(key, VALUE)
    winreg.DeleteKey(winreg.HKEY_CURRENT_USER, KEPT_KEY)
    return str(before)


def _value(hive: int, key: str, name: str) -> object | None:
    if sys.platform == "win32":
        import winreg

        with suppress(OSError), winreg.OpenKey(hive, key) as opened:
            return winreg.QueryValueEx(opened, name)[0]
    return None
