//! `image-swap node restart-pod`, where it starts nothing.

use std::fs;

use crate::run::{Ran, image_swap};

fn restart_pod(root: &str) -> Ran {
    image_swap(&["node", "restart-pod", "--root", root, "--number=7", "--restart-command=false"])
}

#[test]
fn restart_without_its_order_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_str().unwrap();
    let ran = restart_pod(path);
    assert_eq!((ran.code, &*ran.stdout), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains("expected the order 7, found none"), "{ran:?}");
    assert_eq!(fs::read_dir(path).unwrap().count(), 0);

    let directory = root.path().join("var/lib/image-swap/restart");
    fs::create_dir_all(&directory).unwrap();
    let order =
        r#"{"number":8,"source":"none","declaration":"","fallback":"never","runtime":"k3s"}"#;
    fs::write(directory.join("order.json"), order).unwrap();
    let ran = restart_pod(path);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("expected the order 7, found the order 8"), "{ran:?}");

    fs::write(directory.join("order.json"), order.replace("\"none\"", "\"s3cret\"")).unwrap();
    let ran = restart_pod(path);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("order.json") && !ran.stderr.contains("s3cret"), "{ran:?}");
}

#[test]
fn pod_that_cannot_see_the_host_starts_nothing() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("var/lib/image-swap/restart");
    fs::create_dir_all(&directory).unwrap();
    let order =
        r#"{"number":7,"source":"none","declaration":"","fallback":"never","runtime":"k3s"}"#;
    fs::write(directory.join("order.json"), order).unwrap();
    fs::write(directory.join("result.json"), "{}").unwrap();
    let ran = restart_pod(root.path().to_str().unwrap());
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("the pod needs hostPID"), "{ran:?}");
    assert!(!directory.join("result.json").exists());
}

#[test]
fn commands_of_a_restart_are_hidden() {
    let ran = image_swap(&["node", "--help"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for verb in ["restart-pod", "restart-host", "detach"] {
        assert!(!ran.stdout.contains(verb), "{ran:?}");
    }
}
