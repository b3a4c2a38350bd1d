//! Hosts that refuse to be written to.

use crate::{
    Outcome,
    containerd_host::{ContainerdHost, Ran, again},
    files::WITH_PATH,
};

/// Runs `apply` after `script`.
fn apply_after(stage: &ContainerdHost, script: &str) -> Ran {
    // The mirrors are flags, because another user may not read the files of a test.
    let mirrors = "docker.io::harbor.example.org/d,gcr.io::harbor.example.org/g,\
                   quay.io::harbor.example.org/q,ghcr.io::harbor.example.org/h";
    again(stage, &stage.command("apply", &["--mirrors", mirrors]), script)
}

// guarantee: 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn failed_writes_leave_the_host_unchanged() -> Outcome {
    let stage = ContainerdHost::set()?;
    stage.config(WITH_PATH);
    stage.start();
    let before = stage.tree();
    for (what, script, expected) in [
        (
            "full",
            // Room for directories and for some of the files.
            "mount -t tmpfs -o size=16k,nr_inodes=1000 none /etc/containerd/certs.d",
            "No space left on device",
        ),
        (
            "read-only",
            "mount --bind /etc/containerd /etc/containerd && mount -o remount,ro,bind /etc/containerd",
            "Read-only file system",
        ),
        (
            "read-only state",
            "mount --bind /var/lib/image-swap /var/lib/image-swap && mount -o remount,ro,bind /var/lib/image-swap",
            "Read-only file system",
        ),
        ("no permission", "set -- setpriv --reuid 65534 --clear-groups \"$@\"", "ermission denied"),
    ] {
        std::fs::create_dir_all(stage.at("/etc/containerd/certs.d"))?;
        let ran = apply_after(&stage, script);
        assert_eq!(ran.code, 1, "{what}: {ran:?}");
        assert!(ran.stderr.contains(expected), "{what}: {ran:?}");
        std::fs::remove_dir(stage.at("/etc/containerd/certs.d"))?;
        assert_eq!(stage.tree(), before, "{what}");
    }
    Ok(())
}
