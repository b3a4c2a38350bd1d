//! Programs of the machine itself, and programs that a variable names.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{self, Path, PathBuf},
};

/// Folders of programs for the administrator. They are missing from many users' PATH.
const ADMINISTRATOR: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Returns the path in the environment variable of the part `name`, if it is set:
/// `IMAGE_SWAP_KUBE_APISERVER` for `kube-apiserver`.
pub(super) fn named(name: &str) -> Option<PathBuf> {
    let value = env::var_os(variable(name)).filter(|value| !value.is_empty())?;
    path::absolute(value).ok()
}

/// Returns the name of the environment variable of the part `name`.
pub(super) fn variable(name: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("IMAGE_SWAP_{}", name.chars().map(upper).collect::<String>())
}

/// Finds a tool of the machine on PATH or in a folder of the administrator.
///
/// Parts under test are never looked up here: only [`named`] replaces a pinned part.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH");
    path.iter()
        .flat_map(env::split_paths)
        .chain(ADMINISTRATOR.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| runs(path))
}

fn runs(path: &Path) -> bool {
    path.is_absolute()
        && fs::metadata(path)
            .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::{on_path, variable};

    #[test]
    fn tool_is_found_on_path() {
        assert_eq!(on_path("sh").unwrap().file_name().unwrap(), "sh");
        assert_eq!(on_path("no-such-program"), None);
    }

    #[test]
    fn variable_is_named_after_the_part() {
        assert_eq!(variable("kube-apiserver"), "IMAGE_SWAP_KUBE_APISERVER");
        assert_eq!(variable("containerd-2.1"), "IMAGE_SWAP_CONTAINERD_2_1");
    }
}
