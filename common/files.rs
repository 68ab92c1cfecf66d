//! Files that are there whole, or not at all, whenever the power goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Puts a file in its place with its whole content, in the place of an older one; nobody ever finds half of it. Returns when it
/// would survive a power cut, with the file open to append to. Between times it is beside its place, with the ending `.new`.
///
/// # Errors
/// Whatever the disk says; then the older one is still there.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<File> {
    let new = path.with_extension("new");
    let write = || {
        // What a power cut left here is nothing.
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().append(true).create_new(true).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_names(folder(path))?;
        Ok(file)
    };
    write().inspect_err(|_| drop(fs::remove_file(&new)))
}

/// Makes a file that only its owner may read, where there is none, and returns when it would survive a power cut.
///
/// # Errors
/// There is one, or whatever the disk says.
pub fn create_secret(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()?;
    sync_names(folder(path))
}

/// Returns when the names of a folder would survive a power cut: a new or removed one is safe once its folder is.
///
/// # Errors
/// Whatever the disk says.
pub fn sync_names(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_failure_leaves_the_old_one() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state");
        for content in ["one", "two"] {
            let mut file = replace(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            file.write_all(b" more").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{content} more"));
        }
        let full = home.path().join("folder");
        fs::create_dir_all(full.join("in it")).unwrap();
        assert!(replace(&full, b"x").is_err() && full.join("in it").is_dir());
        assert!(!home.path().join("folder.new").exists() && !home.path().join("state.new").exists());
    }

    #[test]
    fn a_secret_is_for_its_owner_alone_and_never_written_twice() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key");
        create_secret(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(create_secret(&path, b"another").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"secret");
    }
}
