//! What the operating system says of this process.
//! Owns: where that is read. Nothing is read where there is no `/proc`.
//! Must not know: how it is written.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// What is known.
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) open_files_max: Option<u64>,
}

pub(super) fn read() -> Process {
    let descriptors = fs::read_dir("/proc/self/fd").ok();
    Process {
        resident_bytes: resident_bytes(),
        // One of them is that of the folder itself.
        open_files: descriptors.map(|files| (files.count() as u64).saturating_sub(1)),
        open_files_max: getrlimit(Resource::Nofile).current,
    }
}

/// proc(5): `VmRSS` is the size of the resident set in units of 1024 bytes.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(size.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_and_descriptors_are_those_of_this_process() {
        let before = read();
        assert!(before.resident_bytes.unwrap() > 1024 * 1024);
        assert!(before.open_files.unwrap() < before.open_files_max.unwrap());
    }
}
