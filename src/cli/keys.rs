//! `agent-auth keys`: generating and rotating encryption keys.
//! Owns: its arguments, and what is printed: keys on standard output, what to do next on standard error.
//! Must not know: when a step is allowed.

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret;

use crate::{
    broker::{
        jobs::reseal,
        key_ring::{self, Kept},
        rotation::{Act, Rotation, Step},
    },
    cipher::Algorithm,
    clock::Clock,
    config::Settings,
    server::lock_folder,
    store::encryption_keys::Resealed,
    terminal::{explain, print},
};

/// How often a reseal says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Print a new encryption key in the format of ENCRYPTION_KEYS; with VAULT_ADDRESS, encrypted by Vault
    Generate(New),
    /// Append a new key: it opens, and seals nothing yet
    Add(New),
    /// Move a key to the front, so that it seals; every running server must have it
    Promote {
        /// The key's id
        id: String,
    },
    /// Seal every stored secret with the first key, while servers run; run it again if it was interrupted
    Reseal,
    /// Remove a key that no stored secret needs
    Retire {
        /// The key's id
        id: String,
    },
    /// Replace the key: all steps at once with the key file of a stopped server, otherwise the next step
    Rotate(New),
}

#[derive(Args, Debug)]
pub(super) struct New {
    /// What the key seals with
    #[arg(long, value_enum, default_value_t = AlgorithmArg::Xchacha20poly1305)]
    algorithm: AlgorithmArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AlgorithmArg {
    /// XChaCha20-Poly1305
    Xchacha20poly1305,
    /// AES-256-GCM, where it is required; one key seals fewer than 2^32 values
    Aes256gcm,
}

impl New {
    fn algorithm(&self) -> Algorithm {
        match self.algorithm {
            AlgorithmArg::Xchacha20poly1305 => Algorithm::XChaCha20Poly1305,
            AlgorithmArg::Aes256gcm => Algorithm::Aes256Gcm,
        }
    }
}

pub(super) async fn run(command: KeysCommand, settings: Settings) -> anyhow::Result<()> {
    let clock = Clock::system();
    match command {
        KeysCommand::Generate(new) => {
            let key = key_ring::new_key(&settings, &clock, new.algorithm()).await?;
            print(key.to_text().expose_secret())
        }
        KeysCommand::Add(new) => {
            let mut rotation = Rotation::open(settings, clock).await?;
            let act = rotation.add(new.algorithm()).await?;
            report(&rotation, &act)
        }
        KeysCommand::Promote { id } => {
            let mut rotation = Rotation::open(settings, clock).await?;
            let act = rotation.promote(&id).await?;
            report(&rotation, &act)
        }
        KeysCommand::Reseal => reseal(&Rotation::open(settings, clock).await?).await,
        KeysCommand::Retire { id } => {
            let mut rotation = Rotation::open(settings, clock).await?;
            let act = rotation.retire(&id).await?;
            report(&rotation, &act)
        }
        KeysCommand::Rotate(new) => match key_ring::kept(&settings) {
            Kept::InFile(_) => rotate_file(settings, clock, new.algorithm()).await,
            Kept::InSetting => rotate_setting(settings, clock, new.algorithm()).await,
        },
    }
}

/// Says what was done and what is next; prints the new value of the setting.
fn report(rotation: &Rotation, act: &Act) -> anyhow::Result<()> {
    let set = match rotation.kept() {
        Kept::InFile(file) => {
            explain(&format!("{} was changed; back it up, separately from the database.", file.display()))?;
            "Restart the server"
        }
        Kept::InSetting => {
            "Set ENCRYPTION_KEYS to the value below on every server, and restart them one after the other"
        }
    };
    explain(&match act {
        Act::Added(id) => format!("Added key {id}. {set}. Then run `agent-auth keys promote {id}`."),
        Act::Promoted(id) => format!("Key {id} is first. {set}. Then run `agent-auth keys reseal`."),
        Act::Retired(id) => format!("Retired key {id}: no stored secret needs it. {set}."),
    })?;
    match rotation.kept() {
        Kept::InFile(_) => Ok(()),
        Kept::InSetting => print(rotation.value().expose_secret()),
    }
}

async fn reseal(rotation: &Rotation) -> anyhow::Result<()> {
    let first = rotation.first();
    rotation.begin_reseal().await?;
    let mut said = Instant::now();
    let done = reseal::run(&rotation.store, |done: &Resealed| {
        if said.elapsed() >= PROGRESS_EVERY {
            said = Instant::now();
            let _ = explain(&format!("Looked at {} values, resealed {}.", done.looked_at, done.resealed));
        }
    })
    .await?;
    rotation.end_reseal(&done).await?;
    explain(&format!("Resealed {} values with key {first}.", done.resealed))?;
    for unreadable in &done.unreadable {
        explain(unreadable)?;
    }
    if done.unreadable_count > 0 {
        bail!(
            "{} values cannot be opened and were left as they are; their keys are missing, or the database was changed",
            done.unreadable_count
        );
    }
    let counts = rotation.store.sealed_by_key().await?;
    let others = counts.iter().filter(|(id, _)| *id != first).map(|(id, count)| format!("{count} with key {id}"));
    let others: Vec<String> = others.collect();
    if others.is_empty() {
        return explain(&format!(
            "Every stored secret is sealed with key {first}. `agent-auth keys retire` removes another key."
        ));
    }
    bail!(
        "a server still seals with another key: {}. Restart it with the new order of ENCRYPTION_KEYS, and run this command \
         again",
        others.join(", ")
    )
}

/// Every step, while no server runs. After a crash, the next run continues.
async fn rotate_file(settings: Settings, clock: Clock, algorithm: Algorithm) -> anyhow::Result<()> {
    let _no_server = lock_folder(&settings)?;
    // Opened for each step, with the keys that the step before it has written.
    let open = || async {
        let rotation = Rotation::open(settings.clone(), clock.clone()).await?;
        rotation.store.end_announcements().await?;
        anyhow::Ok(rotation)
    };
    let mut rotation = open().await?;
    if let Step::Retire(ids) = rotation.next_step().await? {
        for id in ids {
            rotation.retire(&id).await?;
        }
    }
    if rotation.next_step().await? == Step::Add {
        rotation.add(algorithm).await?;
        drop(rotation);
        rotation = open().await?;
    }
    if let Step::Promote(id) = rotation.next_step().await? {
        rotation.promote(&id).await?;
        drop(rotation);
        rotation = open().await?;
    }
    reseal(&rotation).await?;
    let others: Vec<String> = rotation.store.key_ids().into_iter().skip(1).collect();
    for id in others {
        rotation.retire(&id).await?;
    }
    explain("The rotation is complete. Back up the key file, separately from the database, and start the server.")
}

/// The next step, where the operator sets the list.
async fn rotate_setting(settings: Settings, clock: Clock, algorithm: Algorithm) -> anyhow::Result<()> {
    let mut rotation = Rotation::open(settings, clock).await?;
    let act = match rotation.next_step().await? {
        Step::Add => rotation.add(algorithm).await?,
        Step::Promote(id) => rotation.promote(&id).await?,
        Step::Reseal => {
            reseal(&rotation).await?;
            explain("Set ENCRYPTION_KEYS to the value below on every server, and restart them one after the other.")?;
            explain("Then run `agent-auth keys rotate` again with that value; it ends the records of the other keys.")?;
            return print(rotation.first_alone().expose_secret());
        }
        Step::Retire(ids) => {
            for id in ids {
                rotation.retire(&id).await?;
            }
            return explain("The rotation is complete.");
        }
    };
    report(&rotation, &act)?;
    explain("Or run `agent-auth keys rotate` again then, with the new value: it does the next step.")
}
