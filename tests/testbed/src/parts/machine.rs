//! The machine that parts are found on and obtained for.

use std::{
    cell::OnceCell,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::oci::digest_of;

use super::{
    Progress,
    apt::{self, Apt, SUITES, Suite},
    build::Builder,
    find,
    minor::Minor,
    module::Module,
};
use crate::{
    cache::{Cache, entry_name},
    error::Error,
    janitor::RunDir,
    run,
};

/// The command that obtains every part.
const SET_UP: &str = "run `cargo xtask test`, which sets it up";

/// The certificates of public authorities, as Debian's package ca-certificates has them.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Permission to obtain missing parts, and the receiver of progress lines.
#[derive(Clone, Copy)]
pub(super) struct Permission<'a> {
    pub(super) progress: Progress<'a>,
    /// True if Debian packages may be installed on the machine itself.
    pub(super) install: bool,
}

/// The machine, its cache, and the permissions to change them.
pub(super) struct Machine<'a> {
    pub(super) cache: Cache,
    permission: Option<Permission<'a>>,
    /// One apt for each suite, created at first use.
    apt: [OnceCell<(RunDir, Apt)>; SUITES],
}

impl<'a> Machine<'a> {
    /// Opens the cache. Without permission, missing parts are reported and not
    /// obtained.
    pub(super) fn open(permission: Option<Permission<'a>>) -> Result<Self, Error> {
        Ok(Self { cache: Cache::open()?, permission, apt: Default::default() })
    }

    /// Returns the builder of Go modules, or `None` without permission to build. The kubectl of
    /// `minor` renders overlays.
    pub(super) fn builder(&self, minor: Minor) -> Option<Builder<'_, 'a>> {
        self.permission.map(|permission| Builder::new(self, permission.progress, minor))
    }

    /// Returns the path of `program` of a part that is built from a Go module.
    pub(super) fn built(
        &self,
        builder: Option<&Builder<'_, 'a>>,
        module: &Module,
        program: &str,
    ) -> Result<PathBuf, Error> {
        if let Some(named) = find::named(program) {
            return Ok(named);
        }
        Ok(self.built_folder(builder, module)?.join(program))
    }

    /// Returns the folder with the programs of a part that is built from a Go module.
    pub(super) fn built_folder(
        &self,
        builder: Option<&Builder<'_, 'a>>,
        module: &Module,
    ) -> Result<PathBuf, Error> {
        if let Some(builder) = builder {
            return builder.build(module);
        }
        self.cache.find(&module.key()?).ok_or_else(|| Error::unavailable(&module.name, SET_UP))
    }

    /// Returns a common tool of the machine, and installs its package if that is allowed.
    pub(super) fn tool(&self, name: &str, package: &str) -> Result<PathBuf, Error> {
        if let Some(found) = find::on_path(name) {
            return Ok(found);
        }
        self.install(name, package)?;
        find::on_path(name).ok_or_else(|| {
            Error::unavailable(name, format!("look for it in Debian's package {package}"))
        })
    }

    /// Installs a Debian package of the machine's own release.
    fn install(&self, what: &str, package: &str) -> Result<(), Error> {
        let how = format!(
            "run `apt-get install {package}` as root, or `cargo xtask test --install`, which does it"
        );
        match self.permission {
            Some(Permission { install: true, progress }) if is_root()? => {
                Release::of_machine().ok_or_else(|| Error::unavailable(what, how))?;
                apt::install(package, &self.log("apt-install")?, progress)
            }
            _ => Err(Error::unavailable(what, how)),
        }
    }

    /// Installs the packages that downloads need, if that is allowed: the certificates of
    /// public authorities, and pip.
    pub(super) fn prepare(&self) -> Result<(), Error> {
        if !Path::new(AUTHORITIES).exists() {
            self.install("the certificates of public authorities", "ca-certificates")?;
        }
        let pip = || run::output(Command::new("python3").args(["-m", "pip", "--version"]));
        match pip() {
            Ok(_) => Ok(()),
            // Without pip, tools come from crates.io, and Go from the machine.
            Err(_) => self.install("pip", "python3-pip").or_else(|error| match error {
                Error::Unavailable(_) => Ok(()),
                error => Err(error),
            }),
        }
    }

    /// Returns a busybox without shared libraries.
    pub(super) fn busybox(&self) -> Result<PathBuf, Error> {
        if let Some(named) = find::named("busybox") {
            return Ok(named);
        }
        let root = self.packages(Suite::Bookworm, "busybox", &["busybox-static"])?;
        Ok(root.join("bin/busybox"))
    }

    /// Returns the registry of the distribution project, version 2.8.
    pub(super) fn registry2(&self) -> Result<PathBuf, Error> {
        if let Some(named) = find::named("registry-2") {
            return Ok(named);
        }
        let root = self.packages(Suite::Bookworm, "registry-2", &["docker-registry"])?;
        Ok(root.join("usr/bin/docker-registry"))
    }

    /// Unpacks Debian packages over each other into the cache, and returns the folder.
    ///
    /// The entry is named after the version of the last package and a hash of all
    /// packages.
    pub(super) fn packages(
        &self,
        suite: Suite,
        entry: &str,
        packages: &[&str],
    ) -> Result<PathBuf, Error> {
        if let Some(found) = self.cache.find(entry) {
            return Ok(found);
        }
        let progress = self.may_unpack(entry)?;
        self.cache.entry(entry, |work| {
            let root = work.join("root");
            let mut version = String::new();
            let mut hashes = String::new();
            for (number, package) in packages.iter().enumerate() {
                let folder = work.join(number.to_string());
                fs::create_dir(&folder).map_err(Error::io(format!("make {}", folder.display())))?;
                let file = self.apt(suite, progress)?.download(package, &folder, progress)?;
                apt::unpack(&file, &root)?;
                let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
                name.split('_').nth(1).unwrap_or_default().clone_into(&mut version);
                let bytes =
                    fs::read(&file).map_err(Error::io(format!("read {}", file.display())))?;
                hashes += &digest_of(&bytes);
            }
            Ok((entry_name(entry, &version, hashes.as_bytes()), root))
        })
    }

    /// Downloads a Debian package of the machine's own release into `folder`.
    pub(super) fn download_own(&self, package: &str, folder: &Path) -> Result<PathBuf, Error> {
        let progress = self.may_unpack(package)?;
        let suite = Release::of_machine().map_or(Suite::Bookworm, Release::suite);
        self.apt(suite, progress)?.download(package, folder, progress)
    }

    /// Returns the receiver of progress if Debian packages can be unpacked here.
    fn may_unpack(&self, what: &str) -> Result<Progress<'a>, Error> {
        match self.permission {
            Some(permission) if Release::of_machine().is_some() => Ok(permission.progress),
            Some(_) => Err(Error::unavailable(what, "use Debian 12 or 13")),
            None => Err(Error::unavailable(what, SET_UP)),
        }
    }

    /// Returns apt for `suite`. Package lists are read at first use.
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

    /// Makes an empty log file for one long step.
    pub(super) fn log(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.cache.path().join(format!("{name}.log"));
        fs::write(&path, "").map_err(Error::io(format!("write {}", path.display())))?;
        Ok(path)
    }
}

/// A Debian release that the set-up knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    Bookworm,
    Trixie,
}

impl Release {
    /// Reads the release of this machine (os-release(5)); `None` if it is another system.
    fn of_machine() -> Option<Self> {
        Self::parse(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    fn parse(os_release: &str) -> Option<Self> {
        let has = |line: &str| os_release.lines().any(|found| found == line);
        if !has("ID=debian") {
            return None;
        }
        let releases = [(Self::Bookworm, "bookworm"), (Self::Trixie, "trixie")];
        let named = |name: &str| has(&format!("VERSION_CODENAME={name}"));
        releases.into_iter().find(|(_, name)| named(name)).map(|(release, _)| release)
    }

    const fn suite(self) -> Suite {
        match self {
            Self::Bookworm => Suite::Bookworm,
            Self::Trixie => Suite::Trixie,
        }
    }
}

/// Checks that this process may make the namespaces and mounts of a node.
pub(super) fn may_run_nodes() -> Result<(), Error> {
    if !is_root()? {
        return Err(Error::unavailable("root, which a node needs", "run as root"));
    }
    let probe = ["--mount", "--pid", "--net", "--fork", "--mount-proc", "true"];
    run::output(Command::new("unshare").args(probe)).map(drop).map_err(|_| {
        Error::unavailable(
            "the right to make namespaces and mounts (CAP_SYS_ADMIN)",
            "run on the machine itself, or in a privileged container",
        )
    })
}

/// Returns true if the effective user is root, the owner of `/proc/self`.
fn is_root() -> Result<bool, Error> {
    Ok(fs::metadata("/proc/self").map_err(Error::io("read /proc/self"))?.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::Release;

    #[test]
    fn debian_12_and_13_are_recognised() {
        let text = |id, name| format!("ID={id}\nVERSION_CODENAME={name}\n");
        assert_eq!(Release::parse(&text("debian", "bookworm")), Some(Release::Bookworm));
        assert_eq!(Release::parse(&text("debian", "trixie")), Some(Release::Trixie));
        assert_eq!(Release::parse(&text("debian", "bullseye")), None);
        assert_eq!(Release::parse(&text("ubuntu", "noble")), None);
    }
}
