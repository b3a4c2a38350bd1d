//! A Rust compiler for linux/arm64 that runs on linux/amd64.

use std::path::{Path, PathBuf};

use super::{
    Progress,
    apt::Suite,
    machine::{Machine, Permission},
};
use crate::error::Error;

/// Debian's Rust compiler, with the standard libraries of both processors, its shared
/// libraries, a C compiler and linker for arm64, and an emulator. The version of the
/// last package names the entry of the cache.
const PACKAGES: [&str; 30] = [
    "binutils-aarch64-linux-gnu",
    "binutils-common",
    "cpp-12-aarch64-linux-gnu",
    "gcc-12-aarch64-linux-gnu",
    "libbinutils",
    "libbsd0",
    "libc6-arm64-cross",
    "libc6-dev-arm64-cross",
    "libedit2",
    "libffi8",
    "libgcc-12-dev-arm64-cross",
    "libgcc-s1-arm64-cross",
    "libgmp10",
    "libicu72",
    "libisl23",
    "libllvm22",
    "libmd0",
    "libmpc3",
    "libmpfr6",
    "libstd-rust-web-1.96",
    "libstd-rust-web-dev",
    "libstd-rust-web-dev:arm64",
    "libtinfo6",
    "libxml2",
    "libz3-4",
    "libzstd1",
    "linux-libc-dev-arm64-cross",
    "zlib1g",
    "qemu-user-static",
    "rustc-web",
];

/// Debian's compilers for linux/arm64, unpacked into the cache.
#[derive(Clone, Debug)]
pub struct CrossToolchain {
    root: PathBuf,
}

impl CrossToolchain {
    /// The target, as Rust names it.
    pub const TARGET: &str = "aarch64-unknown-linux-gnu";

    /// Unpacks the packages into the cache if they are missing (about 270 MB).
    ///
    /// # Errors
    /// The machine runs neither Debian 12 nor 13 on amd64, or a package cannot be
    /// downloaded.
    pub fn obtain(progress: Progress<'_>) -> Result<Self, Error> {
        if std::env::consts::ARCH != "x86_64" {
            return Err(Error::unavailable("the compilers for arm64", "use a machine with amd64"));
        }
        let machine = Machine::open(Some(Permission { progress, install: false }))?;
        let _lock = machine.cache.lock()?;
        let root = machine.packages(Suite::BookwormArm64, "cross-arm64", &PACKAGES)?;
        Ok(Self { root })
    }

    /// Returns the Rust compiler.
    pub fn rustc(&self) -> PathBuf {
        self.root.join("usr/bin/rustc")
    }

    /// Returns the C compiler, which also links.
    pub fn c_compiler(&self) -> PathBuf {
        self.root.join("usr/bin/aarch64-linux-gnu-gcc-12")
    }

    /// Returns the emulator (qemu-user), which runs programs for arm64.
    pub fn emulator(&self) -> PathBuf {
        self.root.join("usr/bin/qemu-aarch64-static")
    }

    /// Returns the folder below which the C compiler finds headers and libraries.
    pub fn sysroot(&self) -> &Path {
        &self.root
    }

    /// Returns a value for `LD_LIBRARY_PATH`, for the two compilers.
    pub fn libraries(&self) -> String {
        let folders = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
        folders.map(|folder| self.root.join(folder).display().to_string()).join(":")
    }
}
