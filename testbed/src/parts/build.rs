//! Kubernetes, built from Debian's source package: the complete upstream tree
//! with its `vendor/`, so that the build needs no other network.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use super::Progress;
use crate::{error::Error, run};

/// The version in Debian's `1.20.5+really1.20.2`, and the cache entry's name.
pub(super) const ENTRY: &str = "kubernetes-1.20.2";
const VERSION: &str = "1.20.2";

/// What is built, in the order of the need.
const PROGRAMS: [&str; 4] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"];

/// What upstream's scripts would ask git for. The commit is that of the tag.
const GIT_VERSION: &str = "\
KUBE_GIT_VERSION=v1.20.2
KUBE_GIT_MAJOR=1
KUBE_GIT_MINOR=20
KUBE_GIT_TREE_STATE=archive
KUBE_GIT_COMMIT=faecb196815e248d3ecfb03c680a4507229c2a56
";

/// One build.
pub(super) struct Build<'a> {
    /// An empty directory.
    pub(super) work: &'a Path,
    /// Go 1.19: the newest that Debian 12 has and that compiles this tree.
    pub(super) go: &'a Path,
    /// Debian's unpacked `golang-github-modern-go-reflect2-dev`.
    pub(super) reflect2: &'a Path,
    /// The source archive.
    pub(super) archive: &'a Path,
    /// Where everything that is said goes.
    pub(super) log: &'a Path,
}

impl Build<'_> {
    /// Gives the entry's name and the directory with the programs.
    pub(super) fn run(&self, progress: Progress<'_>) -> Result<(String, PathBuf), Error> {
        let name = self.archive.display().to_string();
        if !name.contains(VERSION) {
            return Err(Error::unavailable(
                format!("the source of Kubernetes {VERSION}; Debian offers {name}"),
                "set KUBEBUILDER_ASSETS to a directory with the programs",
            ));
        }
        let start = Instant::now();
        let tree = self.unpack(progress)?;
        let whole = self.work.join("whole");
        fs::create_dir(&whole).map_err(Error::io(format!("make {}", whole.display())))?;
        let count = PROGRAMS.len();
        for (n, program) in PROGRAMS.iter().enumerate() {
            let step = format!("building {program} {VERSION} ({} of {count})", n + 1);
            run::step(progress, &step, &mut self.make(&tree, program), self.log)?;
            let built = tree.join("_output/bin").join(program);
            fs::copy(&built, whole.join(program))
                .map_err(Error::io(format!("copy {}", built.display())))?;
        }
        progress(&format!("built Kubernetes {VERSION} in {}", run::minutes(start.elapsed())));
        Ok((ENTRY.into(), whole))
    }

    fn unpack(&self, progress: Progress<'_>) -> Result<PathBuf, Error> {
        let tree = self.work.join("tree");
        fs::create_dir(&tree).map_err(Error::io(format!("make {}", tree.display())))?;
        let mut tar = Command::new("tar");
        tar.arg("--extract").arg("--file").arg(self.archive);
        tar.arg("--directory").arg(&tree).arg("--strip-components=1");
        run::step(progress, "unpacking the source", &mut tar, self.log)?;
        self.replace_reflect2(&tree)?;
        let version = self.work.join("version");
        fs::write(&version, GIT_VERSION)
            .map_err(Error::io(format!("write {}", version.display())))?;
        Ok(tree)
    }

    /// With the vendored reflect2 1.0.1 and Go 1.18 or later the server crashes
    /// on the first write of a custom resource; Debian has 1.0.2.
    fn replace_reflect2(&self, tree: &Path) -> Result<(), Error> {
        let name = "github.com/modern-go/reflect2";
        let from = self.reflect2.join("usr/share/gocode/src").join(name);
        let to = tree.join("vendor").join(name);
        let replace = || {
            fs::remove_dir_all(&to)?;
            fs::create_dir(&to)?;
            for entry in fs::read_dir(&from)? {
                let file = entry?.path();
                let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let source = [".go", ".s"].iter().any(|end| name.ends_with(end));
                if source && !name.ends_with("_test.go") {
                    fs::copy(&file, to.join(name))?;
                }
            }
            Ok(())
        };
        replace().map_err(Error::io(format!("copy {} to {}", from.display(), to.display())))
    }

    /// `make` generates sources first, without which `go build` fails. It is
    /// nice to whoever works on the machine meanwhile.
    fn make(&self, tree: &Path, program: &str) -> Command {
        let mut make = Command::new("nice");
        make.args(["-n", "10", "make", &format!("WHAT=cmd/{program}")]).current_dir(tree);
        let go = self.go.join("bin");
        make.env_clear()
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", go.display()))
            .env("HOME", self.work)
            .env("LANG", "C.UTF-8")
            .env("GOROOT", self.go)
            .env("GOCACHE", self.work.join("go-cache"))
            .env("GOFLAGS", "")
            .env("GOPROXY", "off")
            // Without debugging symbols: a third smaller.
            .env("GOLDFLAGS", "-s -w")
            .env("FORCE_HOST_GO", "y")
            .env("KUBE_GIT_VERSION_FILE", self.work.join("version"));
        if let Some(limit) = std::env::var_os("GOMAXPROCS") {
            make.env("GOMAXPROCS", limit);
        }
        make
    }
}
