//! Building parts from Go modules.

use std::{
    cell::OnceCell,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use tempfile::TempDir;

use super::{
    Progress, apt,
    go::Go,
    machine::Machine,
    minor::Minor,
    module::{self, Module, Overlay},
};
use crate::{error::Error, run};

/// The file of a cache entry that holds the version of the Go compiler.
const COMPILER: &str = "go-version";

/// A replacement for pkg-config that knows only libseccomp. The machine needs neither
/// the tool nor the library.
const PKG_CONFIG: &str = r"#!/bin/sh
for word; do
    case $word in
        --cflags) printf '%s\n' '-I@ROOT@/usr/include' ;;
        --libs) printf '%s\n' '-L@ROOT@/usr/lib/@ARCH@-linux-gnu -lseccomp' ;;
    esac
done
";

/// A series of builds. They share one module cache and one build cache, which are
/// removed with the value.
pub(super) struct Builder<'m, 'a> {
    machine: &'m Machine<'a>,
    progress: Progress<'a>,
    /// The Kubernetes version whose kubectl renders overlays.
    minor: Minor,
    go: OnceCell<Go>,
    caches: OnceCell<TempDir>,
}

impl<'m, 'a> Builder<'m, 'a> {
    pub(super) const fn new(
        machine: &'m Machine<'a>,
        progress: Progress<'a>,
        minor: Minor,
    ) -> Self {
        Self { machine, progress, minor, go: OnceCell::new(), caches: OnceCell::new() }
    }

    /// Builds `module` unless the cache has it already, and returns its cache entry.
    ///
    /// An entry is found by sources, flags and Go version. The entry that the new one
    /// replaces is removed.
    ///
    /// # Errors
    /// The Go toolchain cannot be obtained, a download failed, or the build failed.
    pub(super) fn build(&self, module: &Module) -> Result<PathBuf, Error> {
        let go = self.go()?;
        let key = module.key()?;
        if let Some(entry) = self.machine.cache.find(&key)
            && fs::read_to_string(entry.join(COMPILER)).is_ok_and(|found| found == go.version)
        {
            return Ok(entry);
        }
        self.machine.cache.replace(&module.name, &key, |work| self.run(go, module, work))
    }

    /// Returns true if a build of `module` is in the cache, whatever Go made it.
    pub(super) fn is_present(&self, module: &Module) -> Result<bool, Error> {
        Ok(self.machine.cache.find(&module.key()?).is_some())
    }

    fn go(&self) -> Result<&Go, Error> {
        if let Some(go) = self.go.get() {
            return Ok(go);
        }
        let go = Go::obtain(&self.machine.cache, self.progress)?;
        Ok(self.go.get_or_init(|| go))
    }

    /// Returns the folder of the shared caches.
    fn caches(&self) -> Result<&Path, Error> {
        if let Some(caches) = self.caches.get() {
            return Ok(caches.path());
        }
        let caches = self.machine.cache.temporary("go")?;
        Ok(self.caches.get_or_init(|| caches).path())
    }

    fn run(&self, go: &Go, module: &Module, work: &Path) -> Result<PathBuf, Error> {
        let start = Instant::now();
        let log = self.machine.log(&module.name)?;
        let version = module.version()?;
        let whole = work.join("whole");
        fs::create_dir(&whole).map_err(Error::io(format!("make {}", whole.display())))?;
        let flags = module.flags()?;
        for (name, package) in module.programs {
            let mut build = self.command(go, module, work)?;
            build.arg("build").args(&flags).arg("-o").arg(whole.join(name)).arg(package);
            let step = format!("building {name} {version}");
            run::step(self.progress, &step, &mut build, &log)?;
        }
        for overlay in module.overlays {
            let mut folder = self.command(go, module, work)?;
            folder.args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", overlay.module]);
            self.render(overlay, run::output(&mut folder)?.trim(), &whole)?;
        }
        if let Some((program, _)) = module.programs.first() {
            for link in module.links {
                symlink(program, whole.join(link)).map_err(Error::io(format!("link {link}")))?;
            }
        }
        fs::write(whole.join(COMPILER), &go.version).map_err(Error::io("write the Go version"))?;
        let time = run::minutes(start.elapsed());
        (self.progress)(&format!("built {} {version} in {time}", module.name));
        Ok(whole)
    }

    /// Renders an overlay of the module in the folder `sources` as JSON, one object after the other.
    fn render(&self, overlay: &Overlay, sources: &str, whole: &Path) -> Result<(), Error> {
        let kubernetes = module::kubernetes(self.minor);
        let kubectl = self.machine.built(Some(self), &kubernetes, "kubectl")?;
        let rendered = whole.join(overlay.file).with_extension("yaml");
        let mut kustomize = Command::new(&kubectl);
        kustomize.arg("kustomize").arg(Path::new(sources).join(overlay.folder));
        run::output(kustomize.arg("--output").arg(&rendered))?;
        let mut convert = Command::new(&kubectl);
        convert
            .env("KUBECONFIG", "/dev/null")
            .args(["label", "--local", "--output=json", "--filename"])
            .arg(&rendered);
        // clusterctl sets this label, and moves objects of labelled definitions.
        let json = run::output(convert.arg("clusterctl.cluster.x-k8s.io="))?;
        let path = whole.join(overlay.file);
        fs::write(&path, json).map_err(Error::io(format!("write {}", path.display())))?;
        fs::remove_file(&rendered).map_err(Error::io(format!("remove {}", rendered.display())))
    }

    /// Returns the `go` command in the module's folder, with an environment of its own.
    fn command(&self, go: &Go, module: &Module, work: &Path) -> Result<Command, Error> {
        let caches = self.caches()?;
        let mut command = Command::new(&go.program);
        command
            .current_dir(module.sources())
            // Settings of the machine's own Go projects must not change the build.
            .env("GOENV", "off")
            .env("GOFLAGS", "")
            .env("GOWORK", "off")
            .env("GOTOOLCHAIN", "local")
            .env("CGO_ENABLED", "0")
            .env("GOMODCACHE", caches.join("modules"))
            .env("GOCACHE", caches.join("build"))
            .env_remove("GOROOT");
        if module.links_seccomp {
            let root = work.join("libseccomp");
            let package = self.machine.download_own("libseccomp-dev", work)?;
            apt::unpack(&package, &root)?;
            let stub = work.join("pkg-config");
            let text = PKG_CONFIG
                .replace("@ROOT@", &root.display().to_string())
                .replace("@ARCH@", std::env::consts::ARCH);
            let write = || {
                fs::write(&stub, text)?;
                fs::set_permissions(&stub, fs::Permissions::from_mode(0o755))
            };
            write().map_err(Error::io(format!("write {}", stub.display())))?;
            command.env("CGO_ENABLED", "1").env("PKG_CONFIG", stub);
        }
        Ok(command)
    }
}
