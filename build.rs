//! The build: embeds the catalogue, one file a provider.
//! Owns: the list of `config/providers/*.toml` that `src/catalog/files.rs` includes, and that a new file is noticed.
//! Must not know: what is in the files.
#![expect(clippy::disallowed_methods, reason = "Cargo passes a build script its folders in the environment")]

use std::{env, fs, io, path::PathBuf};

const FOLDER: &str = "config/providers";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={FOLDER}");
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join(FOLDER);
    let mut files = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".toml"));
        if let (Some(name), Some(path)) = (name, path.to_str()) {
            files.push(format!("({name:?}, include_str!({path:?})),\n"));
        }
    }
    files.sort();
    let list = format!("&[\n{}]\n", files.concat());
    fs::write(PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("providers.rs"), list)
}
