"""The TypeScript client as npm packs it, installed in projects of their own."""

import shutil
import subprocess
from pathlib import Path

from broker import ROOT, environment

CLIENT = ROOT / "clients/typescript"
MODULES = Path(__file__).parent / "node_modules"


def execute(*command, cwd, **variables):
    """The standard output of a program that must succeed."""
    done = subprocess.run(
        command, cwd=cwd, env=environment() | variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def npm(*arguments, cwd):
    return execute("npm", *arguments, "--no-audit", "--no-fund", "--loglevel=error", cwd=cwd)


def pack(folder):
    """Builds the client, and packs it into an archive in the folder."""
    npm("pack", "--pack-destination", str(folder), cwd=CLIENT)
    [archive] = folder.glob("*.tgz")
    return archive


def install(archive, folder, files, langgraph=False):
    """Makes the folder a project with these files and the client, and with LangGraph.js if wanted."""
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    npm("install", "--offline", str(archive), cwd=folder)
    if langgraph:
        for package in MODULES.glob("[!.]*"):
            (folder / "node_modules" / package.name).symlink_to(package)
    for file in files:
        shutil.copy(file, folder)
    return folder
