//! The providers of the demo: the sample provider with its client, and its entries in the catalogue.
//! Owns: what the server is to know of the sample provider.
//! Must not know: how the sample provider answers.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use secrecy::SecretString;
use serde_json::json;

use super::sample_provider::{
    client::{Client, SampleProvider},
    scopes,
};
use crate::{
    broker::{
        clients::redirect_uri::callback_address_of,
        context::Broker,
        providers::{create::create, delete::delete, draft::ProviderDraft},
    },
    catalog::DEMO,
    model::{actor::Act, client::ClientAuthentication, options::OptionsDraft, subject::Tenant},
};

/// Below this path of the server's own address is the sample provider: one port is enough to reach all of the demo, through
/// a tunnel, a container or a proxy.
pub(super) const SAMPLE_PROVIDER: &str = "/sample-provider";

/// The provider of the printed commands.
pub(super) const DOCUMENTS: &str = "sample";
/// The provider of the connections that the demo's user has from the start.
pub(super) const CALENDAR: &str = "sample-calendar";
/// The one that is only in the catalogue, to be added in the console.
const CONTACTS: &str = "sample-contacts";

/// What is offered: its id, its name, and the scope that is requested when none is named.
const OFFERED: [(&str, &str, &str); 3] = [
    (DOCUMENTS, "Sample provider", scopes::DOCUMENTS),
    (CALENDAR, "Sample calendar", scopes::CALENDAR),
    (CONTACTS, "Sample contacts", scopes::CONTACTS),
];

/// Where the sample provider is.
pub(super) struct Endpoints {
    /// For people and their agents.
    public: String,
    /// For this server. The public address may be at the far end of a tunnel.
    own: String,
}

impl Endpoints {
    /// Below the server's own address.
    pub(super) fn new(public_url: &str, own: SocketAddr) -> Self {
        Self { public: format!("{public_url}{SAMPLE_PROVIDER}"), own: format!("http://{own}{SAMPLE_PROVIDER}") }
    }

    /// Writes the catalogue's entries of the sample provider, so that the console offers it and our pages explain its scopes.
    pub(super) fn write_catalog(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let path = folder.join("sample-provider.toml");
        let entries: String = OFFERED.into_iter().map(|offered| self.entry(offered)).collect();
        fs::write(&path, entries).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A table of the catalogue. A text or a list of texts in JSON is one in TOML too.
    fn entry(&self, (id, name, scope): (&str, &str, &str)) -> String {
        let fields = json!({
            "display_name": name,
            "category": DEMO,
            "auth_url": format!("{}/authorize", self.public),
            "token_url": format!("{}/token", self.own),
            "revocation_url": format!("{}/revoke", self.own),
            "userinfo_url": format!("{}/me", self.own),
            "pkce": true,
            "default_scopes": [scope],
            "console": format!("{}/apps", self.public),
            "steps": ["Enter as redirect URI: {redirect_uri}", "Press Register."],
        });
        let fields = fields.as_object().into_iter().flatten().map(|(field, value)| format!("{field} = {value}\n"));
        let meanings = scopes::MEANINGS.map(|(scope, meaning)| format!("{scope:?} = {meaning:?}\n"));
        let fields: String = fields.collect();
        format!("[{id}]\n{fields}[{id}.scope_descriptions]\n{}\n", meanings.concat())
    }

    /// Adds the providers, and registers their clients at the sample provider.
    pub(super) async fn add_providers(
        &self,
        broker: &Arc<Broker>,
        tenant: &Tenant,
        sample: &SampleProvider,
        secret: &SecretString,
        act: &Act,
    ) -> anyhow::Result<()> {
        for (id, name, scope) in OFFERED.into_iter().filter(|(id, ..)| *id != CONTACTS) {
            let client = |redirect_uri| Client {
                id: format!("agent-auth-{id}"),
                secret: secret.clone(),
                name: "agent-auth demo".into(),
                redirect_uri,
            };
            // In a data folder of an earlier run the provider exists, with tokens that the sample provider has forgotten. Its
            // client is registered before they are revoked.
            sample.register(client(String::new()));
            delete(broker, tenant, id, act).await?;
            let draft = ProviderDraft {
                provider_id: Some(id.into()),
                name: Some(name.into()),
                client_id: Some(client(String::new()).id),
                client_secret: Some(secret.clone()),
                authentication: Some(ClientAuthentication::ClientSecretBasic),
                auth_url: Some(format!("{}/authorize", self.public)),
                token_url: Some(format!("{}/token", self.own)),
                revocation_url: Some(format!("{}/revoke", self.own)),
                userinfo_url: Some(format!("{}/me", self.own)),
                uses_pkce: Some(true),
                options: OptionsDraft { default_scopes: Some(vec![scope.into()]), ..OptionsDraft::default() },
                ..ProviderDraft::default()
            };
            let provider = create(broker, tenant.clone(), draft, act).await?;
            sample.register(client(callback_address_of(&broker.public_url, &provider)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::open::check;
    use crate::config::Settings;

    #[test]
    fn the_catalogue_takes_the_entries_at_every_address() {
        for public_url in ["http://127.0.0.1:8080", "https://demo.example.com/below/\"quoted\"", "http://[::1]:9"] {
            let folder = tempfile::TempDir::new().unwrap();
            let written = Endpoints::new(public_url, "[::1]:8080".parse().unwrap()).write_catalog(folder.path());
            let catalog_file = Some(written.unwrap());
            check(&Settings { catalog_file, data_dir: folder.path().to_owned(), ..Settings::default() }).unwrap();
        }
    }
}
