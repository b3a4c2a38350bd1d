//! Programs that are on the machine.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{self, Path, PathBuf},
};

/// Where programs for the administrator are, which are not on everyone's `PATH`.
const ADMINISTRATOR: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The first of `names` in `$KUBEBUILDER_ASSETS`, on `PATH`, in `/usr/sbin` and its like.
pub(super) fn program(names: &[&str]) -> Option<PathBuf> {
    let directories: Vec<PathBuf> = env::var_os("KUBEBUILDER_ASSETS")
        .into_iter()
        .filter_map(|dir| path::absolute(dir).ok())
        .chain(env::var_os("PATH").iter().flat_map(env::split_paths))
        .chain(ADMINISTRATOR.iter().map(PathBuf::from))
        .collect();
    names
        .iter()
        .find_map(|name| directories.iter().map(|dir| dir.join(name)).find(|path| runs(path)))
}

fn runs(path: &Path) -> bool {
    path.is_absolute()
        && fs::metadata(path)
            .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Whether a program needs no shared libraries: an ELF file names its
/// interpreter (`/lib64/ld-linux-…`, `/lib/ld-musl-…`) near its beginning.
pub(super) fn is_static(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| {
        let head = &bytes[..bytes.len().min(4096)];
        head.starts_with(b"\x7fELF") && !head.windows(4).any(|window| window == b"/ld-")
    })
}

#[cfg(test)]
mod tests {
    use super::{is_static, program};

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        let shell = program(&["sh"]).expect("every machine has a shell");
        assert!(!is_static(&shell));
    }

    #[test]
    fn the_first_name_that_exists_is_taken() {
        let found = program(&["no-such-program", "sh"]).unwrap();
        assert_eq!(found.file_name().unwrap(), "sh");
        assert_eq!(program(&["no-such-program"]), None);
    }
}
