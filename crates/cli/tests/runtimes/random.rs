//! Random declarations: containerd tries the very URLs that `explain` prints.

use std::{cell::Cell, fs};

use image_swap_core::{
    declaration::{Declaration, DeclarationSource},
    mirror::Fallback,
    reference::Reference,
    render::{CONTAINERD, Options},
};
use image_swap_lab::{Access, Answers, Daemon, HostOptions, LabHost, MIRROR, Server, Trust};
use image_swap_testbed::Containerd;
use image_swap_testkit::{lists, sources};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::{
    Outcome,
    declared::{Declared, robot},
    lab, rendered,
};

/// The number of declarations for each containerd.
const CASES: u32 = 40;

/// The images to pull: one for every kind of host.
const IMAGES: [&str; 8] = [
    "nginx:1",
    "docker.io/a/b",
    "gcr.io/a/b:1",
    "quay.io/a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "quay.io:443/a:1",
    "ghcr.io/b:2",
    "harbor.example.org/d/a",
    "mirror.example.net/b",
];

const TARGETS: [&str; 7] = [
    "harbor.example.org/d",
    "harbor.example.org",
    "harbor.example.org/x-",
    "harbor.example.org/d/a",
    "http://mirror.example.net/v2/x",
    "mirror.example.net/z",
    "",
];

fn rules() -> impl Strategy<Value = String> {
    let source = sources(&["ghcr.io", "gcr.io/a", "[EXACT]gcr.io/a/b:1"]);
    lists(source, &TARGETS, ",")
}

// guarantee: 1a
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn containerd_requests_predicted_urls_for_random_declarations() -> Outcome {
    let (runtimes, content) = lab()?;
    for containerd in &runtimes.containerds {
        let host = LabHost::start(content)?;
        let options = HostOptions { access: Access::Basic(robot()), trust: Trust::Private };
        // No server has an image, so each is tried in turn.
        host.set_public(Answers::Missing);
        let (mirror, second) = (host.mirror(&options)?, host.second()?);
        mirror.set(Answers::Missing);
        second.set(Answers::Missing);
        host.write("/etc/containerd/config.toml", &rendered::with_config_path(containerd))?;
        let mut daemon = Daemon::new(&host, containerd).unwrap();
        daemon.start()?;
        let palette = Declared::palette(&host, &options);
        let tried = Cell::new(0);
        let config =
            ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) };
        TestRunner::new(config).run(&(rules(), any::<bool>()), |(rules, never)| {
            let declared = palette.clone().with_rules(&rules);
            let fallback = if never { Fallback::Never } else { Fallback::Upstream };
            tried.set(tried.get() + tries(&host, &daemon, containerd, &declared, fallback)?);
            Ok(())
        })?;
        assert!(tried.get() > CASES as usize, "declarations that are served: {tried:?}");
    }
    Ok(())
}

/// Pulls all images as declared, and returns their number.
fn tries(
    host: &LabHost,
    daemon: &Daemon,
    containerd: &Containerd,
    declared: &Declared,
    fallback: Fallback,
) -> Result<usize, TestCaseError> {
    let declaration =
        Declaration::read(DeclarationSource::RegistryInfo, declared.text(), 0).unwrap();
    // Chains and the like are refused as a whole.
    let Ok(declaration) = declaration.serving() else {
        return Err(TestCaseError::reject("refused"));
    };
    let options = Options { fallback, show_credentials: true, ..Options::default() };
    let rendered = CONTAINERD.render(&declaration, options);
    let certs = host.root().join("etc/containerd/certs.d");
    let _ = fs::remove_dir_all(&certs);
    for file in &rendered.files {
        host.write(&format!("/etc/containerd/certs.d/{}", file.path), &file.text).unwrap();
    }
    let mirrors = declaration.mirrors();
    for image in IMAGES {
        let reference = Reference::parse(image).unwrap();
        // Nodes do not trust a registry that is not a target of any rule.
        let named = mirrors.targets().any(|target| target == MIRROR);
        if reference.domain() == MIRROR && !named {
            continue;
        }
        host.log().clear();
        let pulled = daemon.pull(image);
        prop_assert!(pulled.is_err(), "nobody has {}", image);
        let mut urls: Vec<String> = host
            .log()
            .requests()
            .iter()
            .filter(|request| request.path.contains("/manifests/"))
            .map(image_swap_lab::Request::url)
            .collect();
        urls.dedup();
        let predicted = mirrors.pulls(&reference, fallback);
        let credentials =
            host.log().requests().into_iter().filter(|request| {
                request.authorization.is_some() && request.server != Server::Mirror
            });
        prop_assert_eq!(credentials.count(), 0, "{}", host.log().text());
        prop_assert_eq!(urls, predicted, "{} {} {:?}", containerd.version, image, pulled);
    }
    Ok(IMAGES.len())
}
