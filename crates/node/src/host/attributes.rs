//! Extended attributes of a file that is replaced: `SELinux` labels, ACLs, and those that
//! administrators set.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use rustix::{
    fs::{XattrFlags, fsetxattr, lgetxattr, lgetxattr_query, llistxattr, llistxattr_query},
    io::Errno,
};

/// The extended attribute with the `SELinux` label.
const LABEL: &[u8] = b"security.selinux";
/// The POSIX access control list.
const ACL: &[u8] = b"system.posix_acl_access";

/// Copies the attributes of the file `from`, if there is one, to `to`. A `private` file
/// gets no access control list: one could let other users read a credential. Signatures
/// and capabilities, which are about the replaced bytes, are left out too.
///
/// # Errors
/// The kernel refuses to read or to set an attribute, other than for lack of support or
/// of permission.
pub(super) fn copy(from: &Path, to: &File, private: bool) -> io::Result<()> {
    for name in names(from)? {
        let bytes = name.as_bytes();
        let copied = bytes == LABEL
            || bytes == ACL && !private
            || bytes.starts_with(b"user.")
            || bytes.starts_with(b"trusted.");
        if copied && let Some(value) = value(from, &name)? {
            usable(fsetxattr(to, &name, &value, XattrFlags::empty()))?;
        }
    }
    Ok(())
}

/// Copies the `SELinux` label of the file `from`, if it has one, to `to`.
///
/// # Errors
/// The kernel refuses to read or to set the label, other than for lack of support or of
/// permission.
pub(super) fn copy_label(from: &Path, to: &File) -> io::Result<()> {
    let name = OsStr::from_bytes(LABEL);
    if let Some(value) = value(from, name)? {
        usable(fsetxattr(to, name, &value, XattrFlags::empty()))?;
    }
    Ok(())
}

/// Returns the names of the attributes of `path`; empty if there is no file, or if its
/// file system has no attributes.
fn names(path: &Path) -> io::Result<Vec<OsString>> {
    let Some(length) = usable(llistxattr_query(path))? else { return Ok(Vec::new()) };
    let mut list = vec![0; length];
    let Some(length) = usable(llistxattr(path, &mut list[..]))? else { return Ok(Vec::new()) };
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| OsString::from_vec(name.to_vec())).collect())
}

/// Returns the value of the attribute `name` of `path`; `None` if it cannot be read.
fn value(path: &Path, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
    let Some(length) = usable(lgetxattr_query(path, name))? else { return Ok(None) };
    let mut value = vec![0; length];
    let Some(length) = usable(lgetxattr(path, name, &mut value[..]))? else { return Ok(None) };
    value.truncate(length);
    Ok(Some(value))
}

/// Returns the result of a call. Returns `None` without such a file or attribute, and if the file
/// system or a missing permission prevents the call.
fn usable<T>(called: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match called {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT | Errno::NODATA | Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn supported_attributes_are_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let file = File::create(&from).unwrap();
        copy(&dir.path().join("none"), &file, false).unwrap();
        if fsetxattr(&file, "user.origin", b"team", XattrFlags::empty()).is_err() {
            return;
        }
        copy(&from, &File::create(&to).unwrap(), true).unwrap();
        assert_eq!(value(&to, OsStr::new("user.origin")).unwrap().as_deref(), Some(&b"team"[..]));
        fs::remove_file(&to).unwrap();
    }
}
