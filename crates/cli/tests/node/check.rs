//! The request to the declared registry before a host is changed.

use image_swap_lab::{Access, HostOptions, MIRROR, Trust};

use crate::{Outcome, containerd_host::ContainerdHost, files::WITH_PATH, robot};

// guarantee: 4h
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn registry_that_cannot_serve_the_node_changes_nothing() -> Outcome {
    let rules = format!("quay.io::{MIRROR}/airgap-images/quay.io");
    let mirrors = ["--mirrors", rules.as_str()];
    let private = HostOptions { trust: Trust::Private, ..Default::default() };
    let basic = HostOptions { access: Access::Basic(robot()), ..Default::default() };
    let bearer = HostOptions { access: Access::Bearer(robot()), ..Default::default() };
    for (options, reason) in [
        (private, "UnknownIssuer"),
        (basic, "refuses requests without one"),
        (bearer, "refuses requests without one"),
    ] {
        let stage = ContainerdHost::with("2.4", &options)?;
        stage.config(WITH_PATH);
        stage.start();
        let before = stage.tree();
        let ran = stage.node("apply", &mirrors);
        assert_eq!(ran.code, 1, "{ran:?}");
        for part in [reason, "--no-check", "the host is as it was"] {
            assert!(ran.stderr.contains(part), "{part}: {ran:?}");
        }
        assert_eq!(stage.tree(), before);
        let ran = stage.node("apply", &[&mirrors[..], &["--output", "json"]].concat());
        assert!(ran.stdout.contains(r#""result":"failed""#), "{ran:?}");
        let ran = stage.node("apply", &[&mirrors[..], &["--no-check"]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stderr.contains("was not checked: --no-check"), "{ran:?}");
        // A host that is configured already causes no request.
        assert_eq!(stage.node("apply", &mirrors).code, 0);
        // The registry that serves the declared rules passes the check.
        assert_eq!(stage.node("restore", &[]).code, 0);
        let ran = stage.node("apply", &[]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    Ok(())
}
