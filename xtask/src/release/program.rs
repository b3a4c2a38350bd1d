//! Programs without shared libraries, the same bytes from any folder.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use image_swap_testbed::{CrossToolchain, oci::Platform};

use crate::{
    executable,
    host::{Host, print_line},
    process,
};

/// A program for a platform.
pub(super) struct Program {
    pub(super) platform: Platform,
    pub(super) path: PathBuf,
}

/// The target of the machine's own toolchain, as Rust names it.
const AMD64: &str = "x86_64-unknown-linux-gnu";

/// Builds the program for linux/amd64 and for linux/arm64.
///
/// # Errors
/// The machine is not linux/amd64, or a build fails.
pub(super) fn all(host: &Host) -> Result<[Program; 2]> {
    ensure!(
        Platform::here().architecture == "amd64",
        "a release is built on linux/amd64; this machine is {}",
        Platform::here()
    );
    let cross = CrossToolchain::obtain(&print_line)?;
    let platform = |name: &str| name.parse().map_err(anyhow::Error::msg);
    Ok([
        Program { platform: platform("linux/amd64")?, path: amd64(host)? },
        Program { platform: platform("linux/arm64")?, path: arm64(host, &cross)? },
    ])
}

fn amd64(host: &Host) -> Result<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    build(host, AMD64, Path::new(&rustc), &[], |_| ())
}

fn arm64(host: &Host, cross: &CrossToolchain) -> Result<PathBuf> {
    let sysroot = cross.sysroot().display();
    let (target, linker) = (CrossToolchain::TARGET, cross.c_compiler());
    let link = format!("link-arg=--sysroot={sysroot}");
    build(host, target, &cross.rustc(), &["-C", &link], |command| {
        command.env("LD_LIBRARY_PATH", cross.libraries()).env("RUSTC", cross.rustc());
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", &linker);
        command.env("CC_aarch64_unknown_linux_gnu", &linker);
        command.env("CFLAGS_aarch64_unknown_linux_gnu", format!("--sysroot={sysroot}"));
    })
}

/// Builds the program for `target` with the compiler `rustc`, and returns its path.
///
/// Paths of the machine are replaced: in messages of panics, and in the names of files
/// that the C compiler stores.
fn build(
    host: &Host,
    target: &str,
    rustc: &Path,
    flags: &[&str],
    prepare: impl Fn(&mut Command),
) -> Result<PathBuf> {
    print_line(&format!("building for {target}"));
    let mut sysroot = Command::new(rustc);
    prepare(&mut sysroot);
    let sysroot = process::text(sysroot.args(["--print", "sysroot"]))?;
    let replaced = [
        (format!("{}/lib/rustlib/src/rust", sysroot.trim()), "/rust"),
        (cargo_home()?, "/cargo"),
        (host.root.display().to_string(), "/image-swap"),
    ];
    let mut rust = vec!["-C".to_owned(), "target-feature=+crt-static".to_owned()];
    rust.extend(flags.iter().map(|&flag| flag.to_owned()));
    let mut c = String::new();
    for (from, to) in replaced {
        rust.push(format!("--remap-path-prefix={from}={to}"));
        c = format!("{c} -ffile-prefix-map={from}={to}");
    }
    let arguments = ["--release", "--package", "image-swap", "--bin", "image-swap"];
    executable::build_with(
        host,
        "build",
        &[&arguments[..], &["--target", target]].concat(),
        |cargo| {
            prepare(cargo);
            cargo.env("CARGO_ENCODED_RUSTFLAGS", rust.join("\u{1f}"));
            let name = format!("CFLAGS_{}", target.replace('-', "_"));
            let own =
                cargo.get_envs().find(|(key, _)| *key == name.as_str()).and_then(|(_, it)| it);
            let own = own.unwrap_or_default().to_string_lossy().into_owned();
            cargo.env(name, own + &c);
        },
    )
}

/// Returns the folder with the sources of crates.
fn cargo_home() -> Result<String> {
    let home = || Some(Path::new(&env::var_os("HOME")?).join(".cargo"));
    let folder = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    let folder = folder.context("expected CARGO_HOME or HOME to be set")?;
    Ok(folder.display().to_string())
}
