"""Makes the zip of a release, which `setup.bat -Update ZIP` puts in place: every file of the checkout and release.json with their hashes.

python tools/make_release.py OUT.zip        of the commit that is checked out; refuses where a file is changed
"""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "py"))

from lorabake import __version__, release, release_files  # noqa: E402


def git(*words: str, root: Path = ROOT) -> list[str]:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, check=True)
    return [line for line in done.stdout.decode("utf-8").split("\0") if line]


def main(out: Path, root: Path = ROOT) -> int:
    changed = git("status", "--porcelain", "-z", root=root)
    if changed:
        print(f"not as it was committed: {', '.join(changed[:5])}", file=sys.stderr)
        return 1
    names = git("ls-files", "-z", root=root)
    files = release_files.hashed(root, names)
    version = release_files.version_of(root) or __version__
    record = {"version": version, "commit": release.git_commit(root), "files": files}
    top = f"lorabake-{version}/"
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in sorted(files):
            zipped.write(root / name, top + name)
        zipped.writestr(top + release.OWN, json.dumps(record, indent=1) + "\n")
    print(f"{out}: {len(files)} files of {version}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
