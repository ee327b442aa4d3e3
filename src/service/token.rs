//! The token that allows a client to act: where it is kept, how it is made and how it is compared.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::ServiceError;

/// Shortest token that an operator may choose.
const SHORTEST: usize = 16;

/// The token of this installation. Made from 32 random bytes of the operating system when the file is not there yet; the
/// file appears whole and only its owner may read it. A file that others may read, or that is too short, is refused.
pub fn load_or_make_token(path: &Path) -> Result<String, ServiceError> {
    match std::fs::read_to_string(path) {
        Ok(text) => checked(path, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(path),
        Err(source) => Err(ServiceError::Token { path: path.to_path_buf(), source }),
    }
}

fn checked(path: &Path, text: &str) -> Result<String, ServiceError> {
    let unusable = |reason: String| ServiceError::TokenUnusable { path: path.to_path_buf(), reason };
    let metadata =
        std::fs::metadata(path).map_err(|source| ServiceError::Token { path: path.to_path_buf(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(unusable(format!("others may read it (mode {mode:04o}); run `chmod 600` on it")));
    }
    let token = text.trim();
    if token.len() < SHORTEST {
        return Err(unusable(format!("it holds {} characters, {SHORTEST} are the least; remove it", token.len())));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unusable("it holds blanks or characters that are not ASCII; remove it".to_string()));
    }
    Ok(token.to_string())
}

fn make(path: &Path) -> Result<String, ServiceError> {
    let failed = |source| ServiceError::Token { path: path.to_path_buf(), source };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let token = random_hex().map_err(failed)?;
    let partial = folder.join(format!(".token-{}.part", std::process::id()));
    let _ = std::fs::remove_file(&partial);
    let written = write_private(&partial, &token).and_then(|()| std::fs::hard_link(&partial, path));
    let _ = std::fs::remove_file(&partial);
    match written {
        Ok(()) => {
            std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
            Ok(token)
        }
        // A process that started at the same moment was first: a link never replaces, so its token is the one.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => load_or_make_token(path),
        Err(error) => Err(failed(error)),
    }
}

fn write_private(path: &Path, token: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{token}")?;
    file.sync_all()
}

/// 32 bytes from the operating system as 64 hexadecimal characters.
fn random_hex() -> std::io::Result<String> {
    let mut bytes = [0_u8; 32];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Compare in a time that does not depend on where the first difference is: digests of equal length, all bytes looked at.
pub(super) fn same(given: &str, expected: &str) -> bool {
    let given = Sha256::digest(given.as_bytes());
    let expected = Sha256::digest(expected.as_bytes());
    given.iter().zip(expected.iter()).fold(0_u8, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_private_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/token");
        let made = load_or_make_token(&path).unwrap();
        assert_eq!(made.len(), 64);
        assert!(made.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load_or_make_token(&path).unwrap(), made);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no partial file is left");
    }

    #[test]
    fn two_tokens_differ_and_racing_processes_agree() {
        let folder = tempfile::tempdir().unwrap();
        let first = load_or_make_token(&folder.path().join("a")).unwrap();
        let second = load_or_make_token(&folder.path().join("b")).unwrap();
        assert_ne!(first, second);
        assert_eq!(make(&folder.path().join("a")).unwrap(), first, "making again must not replace");
    }

    #[test]
    fn a_token_that_others_may_read_or_that_is_weak_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write_private(&path, "short").unwrap();
        assert!(load_or_make_token(&path).unwrap_err().to_string().contains("5 characters"));
        std::fs::remove_file(&path).unwrap();
        load_or_make_token(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load_or_make_token(&path).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn comparison_sees_every_difference() {
        assert!(same("0123456789abcdef", "0123456789abcdef"));
        for wrong in ["", "0123456789abcdeg", "x123456789abcdef", "0123456789abcdef0"] {
            assert!(!same(wrong, "0123456789abcdef"));
        }
    }
}
