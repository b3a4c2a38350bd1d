//! A cgroup of its own for a process that must outlive its pod.
//!
//! Kubelet and container runtimes end a pod by the processes in its cgroups. Version 2 has one
//! hierarchy, and version 1 has one for each set of controllers.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The name of the cgroup, below the root of each hierarchy.
const NAME: &str = "image-swap-restart";
/// The file that moves a process into a cgroup.
const PROCESSES: &str = "cgroup.procs";
/// Files of version 1 that a process needs before it can enter a cgroup.
const SETS: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// The cgroup of a process in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Membership {
    /// Controllers of the hierarchy, separated by commas; empty for version 2.
    controllers: String,
    /// Path of the cgroup below the root of the hierarchy, such as `/kubepods/pod1`.
    path: String,
}

/// Moves this process out of the cgroups of its pod, into its own below the root of each
/// hierarchy. A hierarchy whose root has the process already stays.
///
/// # Errors
/// If a hierarchy is not mounted, or the kernel refuses the move.
pub(super) fn enter() -> io::Result<()> {
    for (place, _) in memberships()? {
        // Another process may remove the group while it is empty.
        enter_below(&place).or_else(|_| enter_below(&place))?;
    }
    Ok(())
}

/// Moves this process into its own cgroup below `place`.
fn enter_below(place: &Path) -> io::Result<()> {
    let failed = |doing: &str, path: &Path, error: &io::Error| {
        io::Error::new(error.kind(), format!("cannot {doing} {}: {error}", path.display()))
    };
    let own = place.join(NAME);
    match fs::create_dir(&own) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("make the cgroup", &own, &error));
        }
        _ => {}
    }
    // The kernel reads 0 as the process that writes it.
    let sets = SETS.map(|name| (name, fs::read_to_string(place.join(name)).ok()));
    for (name, text) in sets.into_iter().chain([(PROCESSES, Some("0".to_owned()))]) {
        let path = own.join(name);
        let Some(text) = text else { continue };
        fs::write(&path, text).map_err(|error| failed("write", &path, &error))?;
    }
    Ok(())
}

/// Removes the cgroups that [`enter`] made, if this process is in them. A process that the restart
/// command has left running stays in them, and keeps them.
pub(super) fn remove() {
    let own = ["/", NAME].concat();
    for (place, path) in memberships().unwrap_or_default() {
        // An empty cgroup is no harm.
        if path == own && fs::write(place.join(PROCESSES), "0").is_ok() {
            let _ = fs::remove_dir(place.join(NAME));
        }
    }
}

/// Returns the mount point of each hierarchy in which this process is below the root, and its
/// cgroup there.
fn memberships() -> io::Result<Vec<(PathBuf, String)>> {
    let cgroups = fs::read_to_string("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let below = parse(&cgroups).into_iter().filter(|it| it.path != "/");
    let placed = below.map(|it| {
        let place = mount_point(&mounts, &it.controllers).ok_or_else(|| {
            let name = if it.controllers.is_empty() { "version 2" } else { &it.controllers };
            io::Error::other(format!(
                "the cgroup hierarchy of {name} is not mounted on the host, and this process is \
                 in {} there",
                it.path
            ))
        })?;
        Ok((place, it.path))
    });
    placed.collect()
}

/// Parses `/proc/self/cgroup`, lines such as `4:memory:/kubepods/pod1`.
///
/// Source: cgroups(7).
fn parse(text: &str) -> Vec<Membership> {
    let lines = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some(Membership { controllers, path })
    });
    lines.collect()
}

/// Returns the mount point of the root of a hierarchy by `/proc/self/mountinfo`; `None` if it is
/// not mounted.
///
/// Source: proc(5): `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAGS] - TYPE SOURCE SUPER`.
fn mount_point(mounts: &str, controllers: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut file_system = file_system.split(' ');
        let (kind, options) = (file_system.next()?, file_system.nth(1)?);
        let has = |name: &str| options.split(',').any(|option| option == name);
        let is_it = match kind {
            "cgroup2" => controllers.is_empty(),
            "cgroup" => !controllers.is_empty() && controllers.split(',').all(has),
            _ => false,
        };
        (is_it && root == "/").then(|| PathBuf::from(point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
23 1 8:1 / / rw - ext4 /dev/root rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 /kubepods /mnt/part rw - cgroup cgroup rw,cpuset
35 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        for (controllers, expected) in [
            ("", Some("/sys/fs/cgroup/unified")),
            ("cpu,cpuacct", Some("/sys/fs/cgroup/cpu,cpuacct")),
            ("cpuset", Some("/sys/fs/cgroup/cpuset")),
            ("name=systemd", Some("/sys/fs/cgroup/systemd")),
            ("memory", None),
        ] {
            let found = mount_point(MOUNTS, controllers);
            assert_eq!(found, expected.map(PathBuf::from), "{controllers}");
        }
    }

    #[test]
    fn memberships_are_read_from_both_versions() {
        let text = "4:cpu,cpuacct:/kubepods/a:b\n1:name=systemd:/\n0::/kubepods.slice/pod1\n";
        let expected =
            [("cpu,cpuacct", "/kubepods/a:b"), ("name=systemd", "/"), ("", "/kubepods.slice/pod1")];
        let expected = expected.map(|(controllers, path)| Membership {
            controllers: controllers.into(),
            path: path.into(),
        });
        assert_eq!(parse(text), expected);
    }
}
