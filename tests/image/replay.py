"""Replays the Dockerfile: `replay.py WORK [BINARY]`, where WORK/debian is a Debian. scripts/image-test calls it.

Knows the instructions that our Dockerfile uses, and refuses any other. What an engine adds is not covered: layers, the base
images themselves, the network between containers.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PORT = 18080
CHROOT = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin")


def say(text):
    print(f"    {text}", flush=True)


def check(holds, what):
    if not holds:
        raise SystemExit(f"not so: {what}")
    say(f"ok: {what}")


def stages():
    """The instructions of each stage, as (instruction, words)."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            found.append((rest, []))
        else:
            found[-1][1].append((instruction, rest))
    return found


def context():
    """The files that .dockerignore lets through: nothing but what it names."""
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    return {line.removeprefix("!") for line in lines if line.startswith("!")}


def copy(sources, target, sources_root, into, allowed=None):
    for source in sources:
        if allowed is not None and source.rstrip("/") not in allowed:
            raise SystemExit(f"COPY {source}: .dockerignore keeps it out")
        of, to = sources_root / source.lstrip("/"), into / target.lstrip("/")
        if of.is_dir():
            shutil.copytree(of, to, dirs_exist_ok=True)
        else:
            to = to / of.name if target.endswith("/") or to.is_dir() else to
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(of, to)


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def build(root, instructions):
    """The first stage, with the Rust of this machine in the place of the base image's, and without the network."""
    version = re.search(r"rust:([\d.]+)-", stages()[0][0])[1]
    sysroot = subprocess.run(["rustc", f"+{version}", "--print", "sysroot"], capture_output=True, text=True).stdout.strip()
    if not sysroot:
        raise SystemExit(f"the base image has Rust {version}; install it with `rustup toolchain install {version}`")
    subprocess.run(["cargo", "fetch", "--locked", "--quiet"], cwd=ROOT, check=True)
    cargo_home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    for name, of in [("usr/local/rust", Path(sysroot)), ("usr/local/cargo/registry", cargo_home / "registry")]:
        (root / name).mkdir(parents=True)
        mount("--bind", str(of), str(root / name))
    environment = {
        "PATH": "/usr/local/rust/bin:/usr/bin:/bin", "CARGO_HOME": "/usr/local/cargo", "CARGO_NET_OFFLINE": "true", "HOME": "/root",
    }
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("--bind", "/dev", str(root / "dev"))
    folder = "/"
    for instruction, rest in instructions:
        say(f"{instruction} {rest[:100]}")
        if instruction == "WORKDIR":
            folder = rest
            (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY":
            *sources, target = rest.split()
            copy(sources, os.path.join(folder, target), ROOT, root, context())
        elif instruction == "RUN":
            command = f"cd {shlex.quote(folder)} && {rest}"
            subprocess.run([CHROOT, root, "/bin/sh", "-c", command], env=environment, check=True)
        else:
            raise SystemExit(f"{instruction} is not known in the first stage")


def distroless(debian, root):
    """What gcr.io/distroless/cc-debian12:nonroot has: glibc, certificates, time zones, a user, and no shell."""
    root.mkdir()
    packages = "base-files netbase tzdata libc6 libgcc-s1 gcc-12-base libstdc++6 libgomp1"
    (debian / "packages").mkdir()
    subprocess.run([CHROOT, debian, "sh", "-c", f"cd /packages && apt-get update -qq && apt-get download -qq {packages}"], check=True,
                   stdout=subprocess.DEVNULL)
    for package in (debian / "packages").iterdir():
        subprocess.run(["dpkg-deb", "--extract", package, root], check=True)
    shutil.copytree(debian / "etc/ssl/certs", root / "etc/ssl/certs", symlinks=True, dirs_exist_ok=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")
    (root / "etc/group").write_text("root:x:0:\nnonroot:x:65532:\n")
    for name in ["proc", "dev", "tmp"]:
        (root / name).mkdir(exist_ok=True)


class Image:
    """The second stage: what its instructions leave for a container."""

    def __init__(self, root, instructions, built):
        self.root, self.environment, self.user, self.volume, self.command = root, {}, None, None, {}
        for instruction, rest in instructions:
            say(f"{instruction} {rest[:100]}")
            if instruction == "COPY":
                words = rest.split()
                flags, (source, target) = [w for w in words if w.startswith("--")], [w for w in words if not w.startswith("--")]
                assert "--from=build" in flags, rest
                copy([source], target, built, root)
                for flag in flags:
                    if flag.startswith("--chown="):
                        owner, group = map(int, flag.removeprefix("--chown=").split(":"))
                        os.chown(root / target.lstrip("/"), owner, group)
            elif instruction == "ENV":
                self.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
            elif instruction == "USER":
                self.user = rest
            elif instruction == "VOLUME":
                self.volume = rest
            elif instruction == "HEALTHCHECK":
                self.command[instruction] = json.loads(rest[rest.index("["):])
            elif instruction in ("ENTRYPOINT", "CMD"):
                self.command[instruction] = json.loads(rest)
            elif instruction not in ("LABEL", "EXPOSE"):
                raise SystemExit(f"{instruction} is not known in the second stage")

    def start(self, command, **settings):
        environment = self.environment | {f"AGENT_AUTH_{name}": value for name, value in settings.items()}
        arguments = [CHROOT, f"--userspec={self.user}", self.root, *command]
        return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, command, **settings):
        process = self.start(command, **settings)
        printed, _ = process.communicate(timeout=60)
        return process.returncode, printed


def exercise(image):
    """What docs/deploy.md says of a container."""
    entry, serve = image.command["ENTRYPOINT"], image.command["CMD"]
    listen = {"LISTEN": f"0.0.0.0:{PORT}"}
    check(image.environment["AGENT_AUTH_LISTEN"] == "0.0.0.0:8080", "it listens on every address, on port 8080")
    code, printed = image.run([*entry, *serve])
    check(code == 1 and "AGENT_AUTH_PUBLIC_URL: required" in printed, "without PUBLIC_URL it is refused, and says why")
    code, printed = image.run([*entry, "keys", "generate"])
    check(code == 0 and ":" in printed, "keys can be generated without any setting")

    server = image.start([*entry, *serve], PUBLIC_URL="https://auth.example.com", **listen)
    try:
        deadline = time.monotonic() + 60
        while image.run(image.command["HEALTHCHECK"], PUBLIC_URL="https://auth.example.com", **listen)[0] != 0:
            if server.poll() is not None or time.monotonic() > deadline:
                server.kill()
                raise SystemExit(f"it is not healthy: {server.communicate()[0]}")
            time.sleep(0.2)
        say("ok: the health check succeeds")
        key_file = image.root / image.volume.lstrip("/") / "first-admin-key"
        facts = key_file.stat()
        check((facts.st_mode & 0o777, facts.st_uid) == (0o600, 65532), "the first admin key is in the volume, for its owner only")
        key = key_file.read_text().strip()
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}/v2/auth/providers", headers={"x-api-key": key})
        check(urllib.request.urlopen(request, timeout=10).status == 200, "the key works")
        server.send_signal(signal.SIGTERM)
        printed, _ = server.communicate(timeout=35)
        check(server.returncode == 0, "it stops within 35 seconds, with exit code 0")
        check(key not in printed, "the key is not in the log")
    finally:
        server.kill()
        server.wait()
    check(image.run(image.command["HEALTHCHECK"], **listen)[0] != 0, "the health check fails when it is stopped")


def main(work, binary=None):
    work = Path(work)
    debian, runtime = work / "debian", work / "runtime"
    (_, first), (_, second) = stages()
    distroless(debian, runtime)
    if binary is None:
        say(f"Stage 1: {len(first)} instructions")
        build(debian, first)
    else:
        built = debian / "src/target/release/agent-auth"
        built.parent.mkdir(parents=True)
        shutil.copy2(binary, built)
        (debian / "data").mkdir()
    say(f"Stage 2: {len(second)} instructions")
    image = Image(runtime, second, debian)
    say(f"The binary has {(runtime / 'usr/local/bin/agent-auth').stat().st_size / 1e6:.1f} MB")
    # Read-only but for the volume.
    volume = str(runtime / image.volume.lstrip("/"))
    mount("--bind", str(runtime), str(runtime))
    mount("--bind", volume, volume)
    mount("-o", "remount,bind,ro", str(runtime))
    exercise(image)


main(*sys.argv[1:])
