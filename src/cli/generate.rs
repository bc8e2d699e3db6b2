//! `agent-auth completions` and `agent-auth man`: what a package installs next to the binary.
//! Owns: writing both from the definition of the command line.
//! Must not know: what the commands do.

use std::path::Path;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

use crate::terminal::print;

pub(super) fn completions(mut command: Command, shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "agent-auth", &mut script);
    print(String::from_utf8(script).context("the script is not UTF-8")?.trim_end())
}

pub(super) fn manual(command: Command, folder: &Path) -> anyhow::Result<()> {
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
    written.with_context(|| format!("cannot write to {}", folder.display()))
}
