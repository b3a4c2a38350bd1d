//! This machine: what it has, and what it can get.

use std::{
    cell::OnceCell,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use image_swap_oci::digest_of;

use super::{
    Progress,
    apt::{self, Apt, SUITES, Suite},
    build, find,
};
use crate::{cache::Cache, error::Error, janitor::RunDir, run, version::Minor};

/// The plugins a node's configuration names.
const CNI_PLUGINS: [&str; 3] = ["bridge", "host-local", "loopback"];

/// This machine.
pub(super) struct Machine<'a> {
    cache: Cache,
    /// Whether parts may be got, and who is told about it.
    progress: Option<Progress<'a>>,
    /// For each suite.
    apt: [OnceCell<(RunDir, Apt)>; SUITES],
}

impl<'a> Machine<'a> {
    /// Looks at it. With nobody to tell, nothing is got.
    pub(super) fn look(progress: Option<Progress<'a>>) -> Result<Self, Error> {
        Ok(Self { cache: Cache::open()?, progress, apt: Default::default() })
    }

    /// A program: the first of `names` that is there, else `path` of a Debian package.
    pub(super) fn program(
        &self,
        names: &[&str],
        package: &str,
        path: &str,
    ) -> Result<PathBuf, Error> {
        match find::program(names) {
            Some(found) => Ok(found),
            None => Ok(self.package(names[0], package)?.join(path)),
        }
    }

    /// A common tool, which is installed if it is missing.
    pub(super) fn tool(&self, name: &str, package: &str) -> Result<PathBuf, Error> {
        if let Some(found) = find::program(&[name]) {
            return Ok(found);
        }
        let how = format!("apt-get install {package}");
        let progress = self.may_get(name, &how)?;
        if !is_root()? {
            return Err(Error::unavailable(format!("{name} (or root, to install it)"), how));
        }
        self.apt(Suite::Bookworm, progress)?.install(&[package], progress)?;
        find::program(&[name]).ok_or_else(|| Error::unavailable(name, how))
    }

    /// A registry. The project's own releases call the program `registry`.
    pub(super) fn registry(&self) -> Result<PathBuf, Error> {
        self.program(&["docker-registry", "registry"], "docker-registry", "usr/bin/docker-registry")
    }

    /// A busybox without shared libraries.
    pub(super) fn busybox(&self) -> Result<PathBuf, Error> {
        match find::program(&["busybox"]) {
            Some(found) if find::is_static(&found) => Ok(found),
            _ => Ok(self.package("a static busybox", "busybox-static")?.join("bin/busybox")),
        }
    }

    /// containerd, with `ctr` and the shim beside it.
    pub(super) fn containerd(&self) -> Result<PathBuf, Error> {
        let complete = |path: &PathBuf| {
            ["ctr", "containerd-shim-runc-v2"].iter().all(|name| path.with_file_name(name).exists())
        };
        match find::program(&["containerd"]).filter(complete) {
            Some(found) => Ok(found),
            None => Ok(self.package("containerd", "containerd")?.join("usr/bin/containerd")),
        }
    }

    /// The directory of CNI plugins.
    pub(super) fn cni(&self) -> Result<PathBuf, Error> {
        let found = ["/opt/cni/bin", "/usr/lib/cni"]
            .map(PathBuf::from)
            .into_iter()
            .find(|dir| CNI_PLUGINS.iter().all(|name| dir.join(name).exists()));
        match found {
            Some(dir) => Ok(dir),
            None => {
                Ok(self.package("CNI plugins", "containernetworking-plugins")?.join("usr/lib/cni"))
            }
        }
    }

    /// A program of Kubernetes. All come from the same place as the API server:
    /// controllers and kubelets do not work with a server of any other age.
    pub(super) fn kubernetes(&self, name: &str) -> Result<PathBuf, Error> {
        if let Some(server) = find::program(&["kube-apiserver"]) {
            let Some(found) = find::program(&[name]) else {
                return Err(Error::unavailable(
                    format!("{name}, of the version of {}", server.display()),
                    "put it beside that, or take that away to have both built",
                ));
            };
            let (wanted, got) = (Minor::of(&server)?, Minor::of(&found)?);
            if wanted != got {
                return Err(Error::unavailable(
                    format!("{name} of the version of {}", server.display()),
                    format!("{} is of another one: replace either", found.display()),
                ));
            }
            return Ok(found);
        }
        if let Some(built) = self.cache.find(build::ENTRY) {
            return Ok(built.join(name));
        }
        let how = "on Debian 12 run `cargo xtask cluster parts`, which builds it; elsewhere set \
                   KUBEBUILDER_ASSETS to a directory that holds it";
        Ok(self.build(self.may_get(name, how)?)?.join(name))
    }

    /// Builds Kubernetes, and gives the directory with its programs.
    fn build(&self, progress: Progress<'_>) -> Result<PathBuf, Error> {
        let go = "usr/lib/go-1.19";
        let go = match Path::new("/").join(go) {
            installed if installed.join("bin/go").exists() => installed,
            // The compiler's tree links to that of its sources: they are one entry.
            _ => self.packages("golang-1.19", &["golang-1.19-go", "golang-1.19-src"])?.join(go),
        };
        for (tool, package) in [("make", "make"), ("rsync", "rsync"), ("cc", "gcc")] {
            self.tool(tool, package)?;
        }
        let reflect2 = self.package("reflect2", "golang-github-modern-go-reflect2-dev")?;
        self.cache.entry(build::ENTRY, |work| {
            let log = self.log(build::ENTRY)?;
            let archive =
                self.apt(Suite::Bookworm, progress)?.source("kubernetes", work, progress)?;
            build::Build { work, go: &go, reflect2: &reflect2, archive: &archive, log: &log }
                .run(progress)
        })
    }

    /// The cache entry of a part that was built from a Go module.
    pub(super) fn built(&self, entry: &str) -> Result<PathBuf, Error> {
        let missing = || Error::unavailable(entry, "run `cargo xtask test`");
        self.cache.find(entry).ok_or_else(missing)
    }

    /// An unpacked Debian package, of which `what` is needed.
    fn package(&self, what: &str, package: &str) -> Result<PathBuf, Error> {
        if let Some(entry) = self.cache.find(package) {
            return Ok(entry);
        }
        self.may_get(
            what,
            &format!(
                "on Debian 12 run `cargo xtask cluster parts`; elsewhere put it on PATH (Debian's \
                 package {package})"
            ),
        )?;
        self.packages(package, &[package])
    }

    /// Debian packages of this machine's own release.
    fn packages(&self, entry: &str, packages: &[&str]) -> Result<PathBuf, Error> {
        self.packages_of(Suite::Bookworm, entry, packages)
    }

    /// Debian packages unpacked over each other. The entry is named after the
    /// last one's version and the hash of them all: a suite that moves has
    /// other packages under the same version's name at times.
    pub(super) fn packages_of(
        &self,
        suite: Suite,
        entry: &str,
        packages: &[&str],
    ) -> Result<PathBuf, Error> {
        if let Some(found) = self.cache.find(entry) {
            return Ok(found);
        }
        let how = "on Debian 12 run `cargo xtask cluster parts`, which unpacks Debian's packages";
        let progress = self.may_get(entry, how)?;
        self.cache.entry(entry, |work| {
            let root = work.join("root");
            let mut version = String::new();
            let mut hashes = String::new();
            for package in packages {
                let file = self.apt(suite, progress)?.download(package, work, progress)?;
                apt::unpack(&file, &root)?;
                let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
                name.split('_').nth(1).unwrap_or_default().clone_into(&mut version);
                let bytes =
                    fs::read(&file).map_err(Error::io(format!("read {}", file.display())))?;
                hashes += &digest_of(&bytes);
            }
            let hash = digest_of(hashes.as_bytes());
            let hash = hash.trim_start_matches("sha256:").get(..12).unwrap_or_default();
            Ok((format!("{entry}_{version}_{hash}"), root))
        })
    }

    /// Whether something missing can be got here.
    fn may_get(&self, what: &str, how: &str) -> Result<Progress<'a>, Error> {
        match self.progress {
            Some(progress) if is_bookworm() => Ok(progress),
            _ => Err(Error::unavailable(what, how)),
        }
    }

    /// apt, whose lists are read when it is first needed.
    fn apt(&self, suite: Suite, progress: Progress<'_>) -> Result<&Apt, Error> {
        let cell = &self.apt[suite as usize];
        if let Some((_, apt)) = cell.get() {
            return Ok(apt);
        }
        let dir = RunDir::new("apt")?;
        let log = self.log(&format!("apt-{}", suite.name()))?;
        let apt = Apt::new(suite, dir.path(), &log, progress)?;
        Ok(&cell.get_or_init(|| (dir, apt)).1)
    }

    /// An empty file for what the getting of something says.
    fn log(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.cache.path().join(format!("{name}.log"));
        fs::write(&path, "").map_err(Error::io(format!("write {}", path.display())))?;
        Ok(path)
    }
}

/// Whether this process may make what a node consists of.
pub(super) fn may_run_nodes() -> Result<(), Error> {
    if !is_root()? {
        return Err(Error::unavailable("root, which a node needs", "run as root"));
    }
    let probe = ["--mount", "--pid", "--fork", "--mount-proc", "true"];
    run::output(Command::new("unshare").args(probe)).map(drop).map_err(|_| {
        Error::unavailable(
            "the right to make namespaces and mounts (CAP_SYS_ADMIN)",
            "run on the machine itself, or in a privileged container",
        )
    })
}

/// Whether this is Debian 12 (os-release(5)).
fn is_bookworm() -> bool {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let has = |line| text.lines().any(|found| found == line);
    has("ID=debian") && has("VERSION_CODENAME=bookworm")
}

/// Whether we are root: `/proc/self` belongs to the effective user.
fn is_root() -> Result<bool, Error> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata("/proc/self").map_err(Error::io("read /proc/self"))?.uid() == 0)
}
