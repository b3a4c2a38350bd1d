//! Several control planes on one etcd.

use std::process::Command;

use image_swap_testbed::{ControlPlane, ControlPlanes, Options, Parts};

use crate::{Outcome, parts};

/// Returns the output of `kubectl auth whoami` with a kubeconfig, or its error output.
fn user_of(parts: &Parts, kubeconfig: &str) -> Result<String, Box<dyn std::error::Error>> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), kubeconfig)?;
    let out = Command::new(&parts.servers()?.kubectl)
        .args(["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"])
        .env("KUBECONFIG", file.path())
        .env("HOME", file.path().with_extension("home"))
        .output()?;
    let text = if out.status.success() { out.stdout } else { out.stderr };
    Ok(String::from_utf8(text)?)
}

#[test]
#[ignore = "needs the API server: cargo xtask test"]
fn workload_clusters_are_separate() -> Outcome {
    let parts = parts();
    let mut all = ControlPlanes::start(parts, &Options::default(), 2)?;
    let uid = all.hub.uid()?;
    let uids: Vec<String> =
        all.workloads.iter().map(ControlPlane::uid).collect::<Result<_, _>>()?;
    assert!(!uids.contains(&uid) && uids[0] != uids[1], "{uid} {uids:?}");
    let [first, second] = &mut all.workloads[..] else { panic!("two workload clusters") };
    first.create_namespace("only")?;
    assert_eq!(second.get("/api/v1/namespaces/only")?, None);
    assert_eq!(all.hub.get("/api/v1/namespaces/only")?, None);

    assert_eq!(user_of(parts, &first.administrator_kubeconfig()?)?, "administrator");
    let token = first.token_kubeconfig("only", "fleet", true)?;
    assert_eq!(user_of(parts, &token)?, "system:serviceaccount:only:fleet");
    // The certificate of another authority is not trusted.
    let foreign = second.administrator_kubeconfig()?.replace(second.url(), first.url());
    let refused = user_of(parts, &foreign)?;
    assert!(refused.contains("certificate"), "{refused}");

    first.api_server().kill()?;
    assert!(first.get("/api/v1/namespaces/only").is_err());
    assert!(second.get("/api/v1/namespaces/default")?.is_some());
    first.wait_ready()?;
    assert!(first.get("/api/v1/namespaces/only")?.is_some());
    assert_eq!(first.uid()?, uids[0]);
    Ok(())
}
