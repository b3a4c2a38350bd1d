//! `cargo xtask image` as a process, and its push to real registries. The program in the
//! images is a static busybox, which needs no build.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use image_swap_testbed::oci::Platform;
use image_swap_testbed::{
    Authority, Credentials, Parts, Registry, RegistryOptions, RegistryVersion,
};

type Outcome = Result<(), Box<dyn Error>>;

/// Returns the parts and the path of a static busybox.
fn parts() -> Result<(Parts, PathBuf), Box<dyn Error>> {
    let parts = Parts::present()?;
    let busybox = parts.registry()?.busybox.clone();
    Ok((parts, busybox))
}

fn image(busybox: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let binary = format!("{}={}", Platform::here(), busybox.display());
    command.args(["image", "--binary", &binary, "--out"]).arg(out);
    command.env_remove("IMAGE_SWAP_PUSH_USERNAME").env_remove("IMAGE_SWAP_PUSH_PASSWORD");
    command
}

fn printed(output: &Output) -> String {
    let bytes = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(bytes).unwrap()
}

/// Returns every file below `dir`, by its path.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                all.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    all.into_iter()
        .map(|(path, bytes)| (path.strip_prefix(dir).unwrap().to_owned(), bytes))
        .collect()
}

#[test]
#[ignore = "needs the registry: cargo xtask test"]
fn two_runs_make_the_same_files_and_digest() -> Outcome {
    let (_, busybox) = parts()?;
    let dirs = [tempfile::tempdir()?, tempfile::tempdir()?];
    let runs = dirs.each_ref().map(|dir| image(&busybox, dir.path()).output().unwrap());
    for run in &runs {
        assert!(run.status.success(), "{}", printed(run));
    }
    let all = dirs.each_ref().map(|dir| files(dir.path()));
    assert!(all[0] == all[1], "{:?} {:?}", all[0].keys(), all[1].keys());
    let digest =
        |run| printed(run).lines().find_map(|line| line.strip_prefix("index ").map(str::to_owned));
    assert!(digest(&runs[0]).is_some());
    assert_eq!(digest(&runs[0]), digest(&runs[1]));
    Ok(())
}

#[test]
#[ignore = "needs the registry: cargo xtask test"]
fn registry_3_accepts_a_push_with_credentials() -> Outcome {
    push_with_credentials(RegistryVersion::V3)
}

#[test]
#[ignore = "needs the registry: cargo xtask test"]
fn registry_2_accepts_a_push_with_credentials() -> Outcome {
    push_with_credentials(RegistryVersion::V2)
}

/// Pushes to a registry with a private certificate: without credentials, with wrong ones,
/// and with those that the registry knows.
fn push_with_credentials(version: RegistryVersion) -> Outcome {
    let (parts, busybox) = parts()?;
    let authority = Authority::new("company")?;
    let credentials = Credentials { username: "robot".into(), password: "p\"w: x\\".into() };
    let registry = Registry::start(
        &parts,
        &RegistryOptions {
            version,
            tls: Some(authority.server(&["127.0.0.1"])?),
            authority: Some(authority.certificate().to_owned()),
            credentials: Some(credentials.clone()),
            ..RegistryOptions::default()
        },
    )?;
    let dir = tempfile::tempdir()?;
    let trusted = dir.path().join("company.crt");
    fs::write(&trusted, authority.certificate())?;
    let target = format!("{}/airgap-images/image-swap:1", registry.address());
    let push = |password: Option<&str>| {
        let mut command = image(&busybox, &dir.path().join("layout"));
        command.args(["--push", &target, "--ca-cert"]).arg(&trusted);
        if let Some(password) = password {
            command.env("IMAGE_SWAP_PUSH_USERNAME", "robot");
            command.env("IMAGE_SWAP_PUSH_PASSWORD", password);
        }
        command.output().unwrap()
    };

    let anonymous = push(None);
    assert_eq!(anonymous.status.code(), Some(1));
    let refusal = printed(&anonymous);
    assert!(refusal.contains("set IMAGE_SWAP_PUSH_USERNAME"), "{refusal}");
    let wrong = push(Some("guessed-password"));
    assert_eq!(wrong.status.code(), Some(1));
    assert!(!printed(&wrong).contains("guessed-password"), "{}", printed(&wrong));

    let pushed = push(Some(&credentials.password));
    let output = printed(&pushed);
    assert!(pushed.status.success(), "{output}");
    let digest = output.lines().find_map(|line| line.strip_prefix("index   ")).unwrap();
    assert!(output.contains(&format!("pushed  {target}@{digest}")), "{output}");

    // The tag names the index, and the index the image of this platform.
    let get = |path: &str| registry.request_as(&credentials, "GET", path);
    let index = get("/v2/airgap-images/image-swap/manifests/1")?;
    assert_eq!(index.header("Docker-Content-Digest"), Some(digest));
    let index: serde_json::Value = serde_json::from_str(&index.body)?;
    assert_eq!(index["manifests"][0]["platform"], Platform::here().document());
    let manifest = index["manifests"][0]["digest"].as_str().unwrap();
    assert_eq!(get(&format!("/v2/airgap-images/image-swap/manifests/{manifest}"))?.status, 200);
    Ok(())
}

#[test]
fn program_with_shared_libraries_is_refused() -> Outcome {
    let dir = tempfile::tempdir()?;
    let own = std::env::current_exe()?;
    let refused = image(&own, dir.path()).output()?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(printed(&refused).contains("without shared libraries"), "{}", printed(&refused));
    assert!(files(dir.path()).is_empty());
    Ok(())
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn skopeo_copies_every_platform_of_both_forms() -> Outcome {
    let (parts, busybox) = parts()?;
    let runtimes = parts.runtimes()?;
    let dir = tempfile::tempdir()?;
    let (layout, archive) = (dir.path().join("layout"), dir.path().join("image.tar"));
    // Only the headers of a program are checked, so a changed one makes another platform.
    let mut program = fs::read(&busybox)?;
    let (platform, machine) = match Platform::here().architecture.as_str() {
        "arm64" => ("linux/amd64", 62_u16),
        _ => ("linux/arm64", 183),
    };
    program[18..20].copy_from_slice(&machine.to_le_bytes());
    let other = dir.path().join("other");
    fs::write(&other, program)?;
    let mut command = image(&busybox, &layout);
    command.args(["--binary", &format!("{platform}={}", other.display()), "--tag", "1"]);
    let made = command.arg("--archive").arg(&archive).output()?;
    assert!(made.status.success(), "{}", printed(&made));

    for (n, source) in [("oci", &layout), ("oci-archive", &archive)].iter().enumerate() {
        let copied = dir.path().join(n.to_string());
        let mut skopeo = Command::new(&runtimes.skopeo.path);
        skopeo.env("LD_LIBRARY_PATH", &runtimes.skopeo.libraries);
        skopeo.args(["--insecure-policy", "copy", "--quiet", "--all"]);
        skopeo.arg(format!("{}:{}:1", source.0, source.1.display()));
        let ran = skopeo.arg(format!("dir:{}", copied.display())).output()?;
        assert!(ran.status.success(), "{}", printed(&ran));
        let names = files(&copied).into_keys().filter_map(|path| path.to_str().map(str::to_owned));
        assert_eq!(names.filter(|name| name.ends_with(".manifest.json")).count(), 2);
    }
    Ok(())
}
