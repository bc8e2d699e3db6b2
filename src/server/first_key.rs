//! The first admin API key of a database.
//! Owns: where it goes: to a terminal, or to a file that only its owner can read, and never into a log.
//! Must not know: how keys are stored.

use std::{fs::File, io, io::IsTerminal, io::Write, path::Path};

use secrecy::{ExposeSecret, SecretString};
use tempfile::NamedTempFile;

use crate::{
    broker::{context::Broker, open::private_folder},
    identity::api_keys,
    terminal::print,
};

/// The file in the data folder.
const FILE: &str = "first-admin-key";

/// Creates the first key: the configured one if it is not stored yet. Without one, and if there is no key at all, a new key.
pub(super) async fn create(broker: &Broker) -> anyhow::Result<()> {
    let (store, now) = (broker.store(), broker.clock.now());
    if let Some(key) = &broker.settings.bootstrap_api_key {
        return Ok(api_keys::keep_configured(store, key, now).await?);
    }
    if store.has_api_keys().await? {
        return Ok(());
    }
    let (key, record) = api_keys::first_key(store, now).await?;
    // What a container or a service manager reads from standard output is a log.
    if io::stdout().is_terminal() {
        if api_keys::keep_first(store, &record).await? {
            print(&format!("First start. This admin API key is shown only once:\n{}", key.expose_secret()))?;
        }
        return Ok(());
    }
    let folder = &broker.settings.data_dir;
    // The key is on the disk before it counts. Of several replicas that start together, one stores its key and names its file.
    let file = match private_folder(folder).and_then(|()| new_file(folder, &key)) {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!(
                event = "api_key.first_not_created", folder = %folder.display(), %error,
                "there is no API key yet, and none could be written to the data folder; set BOOTSTRAP_API_KEY_FILE, or run \
                 `agent-auth api-key create --role admin --name NAME` with this server's settings"
            );
            return Ok(());
        }
    };
    if api_keys::keep_first(store, &record).await? {
        let mut path = folder.join(FILE);
        if let Err(error) = file.persist(&path) {
            // Now the key counts, so its file stays, under the name that it has.
            (_, path) = error.file.keep()?;
        }
        File::open(folder)?.sync_all()?;
        tracing::info!(
            event = "api_key.first_created", file = %path.display(),
            "created the first admin API key; read it from this file, store it safely, and delete the file"
        );
    }
    Ok(())
}

/// A file that only its owner can read. It is deleted unless it gets its name.
fn new_file(folder: &Path, key: &SecretString) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(FILE).tempfile_in(folder)?;
    writeln!(file, "{}", key.expose_secret())?;
    file.as_file().sync_all()?;
    Ok(file)
}
