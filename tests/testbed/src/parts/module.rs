//! Parts that are built from Go modules: one row for each.
//!
//! A row names a folder below `tests/testbed/modules`. Versions are in the folder's module
//! file alone; `go.sum` pins every downloaded byte.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::oci::digest_of;

use super::minor::Minor;
use crate::{cache::entry_name, error::Error};

/// A Go module of the test support and the programs that are built from it.
#[derive(Clone, Debug)]
pub(super) struct Module {
    /// The name of the cache entry, without key.
    pub(super) name: String,
    /// The folder below `tests/testbed/modules`.
    folder: &'static str,
    /// The module file below the folder.
    file: String,
    /// The path of the upstream module, whose version is the part's version.
    upstream: &'static str,
    /// Programs: file name and Go package.
    pub(super) programs: &'static [(&'static str, &'static str)],
    /// Links to the first program, one for each name that it answers to.
    pub(super) links: &'static [&'static str],
    /// Linker variables that hold the version. `{v}` is `v1.2.3`, `{n}` is `1.2.3`,
    /// `{minor}` is `2`.
    variables: &'static [&'static str],
    /// The build tags of the module; empty without any.
    pub(super) tags: &'static str,
    /// True if the program links C code statically (libseccomp).
    pub(super) links_seccomp: bool,
    /// Objects that `kubectl kustomize` renders from the downloaded sources.
    pub(super) overlays: &'static [Overlay],
    /// Seconds that a build takes on two idle cores with empty caches.
    pub(super) seconds: u64,
    /// Megabytes that the programs take in the cache.
    pub(super) megabytes: u64,
}

/// A Kustomize overlay in the sources of a module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overlay {
    /// The file of the cache entry with the rendered objects.
    pub(super) file: &'static str,
    /// The path of the module.
    pub(super) module: &'static str,
    /// The folder of the overlay in the module.
    pub(super) folder: &'static str,
}

/// Returns the parts that every Kubernetes version shares.
pub(super) fn shared() -> Vec<Module> {
    vec![
        etcd(),
        containerd(),
        containerd_2_1(),
        runc(),
        cni(),
        crictl(),
        registry(),
        helm4(),
        helm3(),
        cluster_api(),
    ]
}

fn module(name: &'static str, upstream: &'static str) -> Module {
    Module {
        name: name.to_owned(),
        folder: name,
        file: "go.mod".to_owned(),
        upstream,
        programs: &[],
        links: &[],
        variables: &[],
        tags: "",
        links_seccomp: false,
        overlays: &[],
        seconds: 0,
        megabytes: 0,
    }
}

/// Returns the programs of Kubernetes, which share one module file.
pub(super) fn kubernetes(minor: Minor) -> Module {
    Module {
        name: format!("kubernetes-{minor}"),
        folder: "kubernetes",
        file: minor.module_file(),
        programs: &[("kubernetes", ".")],
        links: &[
            "kube-apiserver",
            "kube-controller-manager",
            "kube-proxy",
            "kube-scheduler",
            "kubectl",
            "kubelet",
        ],
        variables: &[
            "k8s.io/component-base/version.gitVersion={v}",
            "k8s.io/component-base/version.gitMajor=1",
            "k8s.io/component-base/version.gitMinor={minor}",
            "k8s.io/component-base/version.gitTreeState=archive",
            "k8s.io/component-base/version.gitCommit=go-module",
            "k8s.io/component-base/version.buildDate=1970-01-01T00:00:00Z",
            "k8s.io/client-go/pkg/version.gitVersion={v}",
        ],
        seconds: 360,
        megabytes: 155,
        ..module("kubernetes", "k8s.io/kubernetes")
    }
}

pub(super) fn etcd() -> Module {
    Module {
        programs: &[("etcd", "go.etcd.io/etcd/server/v3")],
        seconds: 45,
        megabytes: 25,
        ..module("etcd", "go.etcd.io/etcd/server/v3")
    }
}

const CONTAINERD: &[(&str, &str)] = &[
    ("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
    ("containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"),
    ("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
];

pub(super) fn containerd() -> Module {
    Module {
        programs: CONTAINERD,
        variables: &["github.com/containerd/containerd/v2/version.Version={v}"],
        seconds: 60,
        megabytes: 80,
        ..module("containerd", "github.com/containerd/containerd/v2")
    }
}

pub(super) fn containerd_2_1() -> Module {
    Module { name: "containerd-2.1".to_owned(), folder: "containerd-2.1", ..containerd() }
}

pub(super) fn runc() -> Module {
    Module {
        programs: &[("runc", "github.com/opencontainers/runc")],
        variables: &["main.version={n}"],
        tags: "seccomp netgo osusergo",
        links_seccomp: true,
        seconds: 15,
        megabytes: 10,
        ..module("runc", "github.com/opencontainers/runc")
    }
}

pub(super) fn cni() -> Module {
    Module {
        programs: &[
            ("bridge", "github.com/containernetworking/plugins/plugins/main/bridge"),
            ("host-local", "github.com/containernetworking/plugins/plugins/ipam/host-local"),
            ("loopback", "github.com/containernetworking/plugins/plugins/main/loopback"),
            ("portmap", "github.com/containernetworking/plugins/plugins/meta/portmap"),
        ],
        seconds: 10,
        megabytes: 16,
        ..module("cni", "github.com/containernetworking/plugins")
    }
}

pub(super) fn crictl() -> Module {
    Module {
        programs: &[("crictl", "sigs.k8s.io/cri-tools/cmd/crictl")],
        variables: &["sigs.k8s.io/cri-tools/pkg/version.Version={v}"],
        seconds: 25,
        megabytes: 28,
        ..module("crictl", "sigs.k8s.io/cri-tools")
    }
}

pub(super) fn registry() -> Module {
    Module {
        programs: &[("registry", ".")],
        variables: &["github.com/distribution/distribution/v3/version.version={v}"],
        seconds: 25,
        megabytes: 26,
        ..module("registry", "github.com/distribution/distribution/v3")
    }
}

pub(super) fn helm4() -> Module {
    Module {
        programs: &[("helm", "helm.sh/helm/v4/cmd/helm")],
        variables: &["helm.sh/helm/v4/internal/version.version={v}"],
        seconds: 100,
        megabytes: 67,
        ..module("helm-4", "helm.sh/helm/v4")
    }
}

/// Returns the module of Helm 3. Linker variables set the Kubernetes version that templates see:
/// without them `helm template` renders for Kubernetes 1.20.
pub(super) fn helm3() -> Module {
    Module {
        programs: &[("helm", "helm.sh/helm/v3/cmd/helm")],
        variables: &[
            "helm.sh/helm/v3/internal/version.version={v}",
            "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1",
            "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=37",
            "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1",
            "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37",
        ],
        seconds: 60,
        megabytes: 62,
        ..module("helm-3", "helm.sh/helm/v3")
    }
}

const CLUSTER_API: [Overlay; 4] = [
    Overlay { file: "core.json", module: "sigs.k8s.io/cluster-api", folder: "core/config/default" },
    Overlay {
        file: "bootstrap.json",
        module: "sigs.k8s.io/cluster-api",
        folder: "bootstrap/kubeadm/config/default",
    },
    Overlay {
        file: "control-plane.json",
        module: "sigs.k8s.io/cluster-api",
        folder: "controlplane/kubeadm/config/default",
    },
    Overlay {
        file: "infrastructure.json",
        module: "sigs.k8s.io/cluster-api/test",
        folder: "infrastructure/docker/config/default",
    },
];

/// Returns the controllers of Cluster API, its infrastructure provider for tests, whose machines
/// exist in its memory alone, and its command.
pub(super) fn cluster_api() -> Module {
    Module {
        programs: &[
            ("core", "sigs.k8s.io/cluster-api/core"),
            ("bootstrap", "sigs.k8s.io/cluster-api/bootstrap/kubeadm"),
            ("control-plane", "sigs.k8s.io/cluster-api/controlplane/kubeadm"),
            ("infrastructure", "sigs.k8s.io/cluster-api/test/infrastructure/docker"),
            ("clusterctl", "sigs.k8s.io/cluster-api/cmd/clusterctl"),
        ],
        variables: &["sigs.k8s.io/cluster-api/version.gitVersion={v}"],
        overlays: &CLUSTER_API,
        seconds: 230,
        megabytes: 315,
        ..module("cluster-api", "sigs.k8s.io/cluster-api")
    }
}

impl Module {
    /// Returns the folder with the module's sources.
    pub(super) fn sources(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("modules").join(self.folder)
    }

    /// Returns the arguments of `go build`, output and package aside.
    pub(super) fn flags(&self) -> Result<Vec<String>, Error> {
        let version = self.version()?;
        let number = version.trim_start_matches('v');
        let minor = number.split('.').nth(1).unwrap_or_default();
        let mut linker = String::from("-s -w");
        for variable in self.variables {
            linker += " -X ";
            linker +=
                &variable.replace("{v}", &version).replace("{n}", number).replace("{minor}", minor);
        }
        if self.links_seccomp {
            linker += " -extldflags -static";
        }
        let mut flags = ["-trimpath", "-buildvcs=false", "-mod=readonly", "-modcacherw"]
            .map(str::to_owned)
            .to_vec();
        if self.file != "go.mod" {
            flags.push(format!("-modfile={}", self.file));
        }
        if !self.tags.is_empty() {
            flags.push(format!("-tags={}", self.tags));
        }
        flags.push(format!("-ldflags={linker}"));
        Ok(flags)
    }

    /// Returns the version of the upstream module, as the module file pins it.
    pub(super) fn version(&self) -> Result<String, Error> {
        let path = self.sources().join(&self.file);
        let text =
            fs::read_to_string(&path).map_err(Error::io(format!("read {}", path.display())))?;
        let found = text.lines().find_map(|line| {
            let mut words = line.trim_start_matches("require ").split_whitespace();
            (words.next() == Some(self.upstream)).then(|| words.next()).flatten()
        });
        found.map(str::to_owned).ok_or_else(|| {
            Error::unavailable(
                format!("the version of {} in {}", self.upstream, path.display()),
                "run `go mod tidy` there",
            )
        })
    }

    /// Returns the name of the cache entry up to the Go version: part, version, and a
    /// hash of the sources and of the flags.
    pub(super) fn key(&self) -> Result<String, Error> {
        let folder = self.sources();
        let sums = Path::new(&self.file).with_extension("sum");
        let mut files = vec![folder.join(&self.file), folder.join(sums)];
        let entries =
            fs::read_dir(&folder).map_err(Error::io(format!("read {}", folder.display())))?;
        let mut sources: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        sources.retain(|path| path.extension().is_some_and(|extension| extension == "go"));
        sources.sort();
        files.append(&mut sources);
        let mut all = self.flags()?.join("\n").into_bytes();
        for (name, package) in self.programs {
            all.extend(format!("\n{name} {package}").bytes());
        }
        all.extend(self.links.join(" ").bytes());
        for Overlay { file, module, folder } in self.overlays {
            all.extend(format!("\n{file} {module} {folder}").bytes());
        }
        for file in files {
            let bytes = fs::read(&file).map_err(Error::io(format!("read {}", file.display())))?;
            all.extend(digest_of(&bytes).bytes());
        }
        Ok(entry_name(&self.name, self.version()?.trim_start_matches('v'), &all))
    }
}

#[cfg(test)]
mod tests {
    use super::{kubernetes, registry, runc, shared};
    use crate::parts::minor::Minor;

    #[test]
    fn every_module_pins_its_version() {
        let all = Minor::MATRIX.into_iter().map(kubernetes).chain(shared());
        for module in all {
            let version = module.version().unwrap();
            assert!(version.starts_with('v') && version.matches('.').count() == 2, "{version}");
            assert!(module.key().unwrap().starts_with(&format!(
                "{}_{}",
                module.name,
                &version[1..]
            )));
        }
    }

    #[test]
    fn flags_carry_version_and_tags() {
        let flags = runc().flags().unwrap();
        assert!(flags.contains(&"-tags=seccomp netgo osusergo".to_owned()), "{flags:?}");
        assert!(flags.last().unwrap().contains("-X main.version=1."), "{flags:?}");
    }

    #[test]
    fn older_minor_has_its_own_module_file() {
        let flags = kubernetes(Minor::OLDEST).flags().unwrap();
        assert!(flags.contains(&"-modfile=1.33/go.mod".to_owned()), "{flags:?}");
        assert!(flags.last().unwrap().contains("gitMinor=33"), "{flags:?}");
        assert!(kubernetes(Minor::DEFAULT).flags().unwrap().last().unwrap().contains("=v1.37."));
    }

    #[test]
    fn key_depends_on_flags() {
        let mut other = registry();
        other.tags = "other";
        assert_ne!(other.key().unwrap(), registry().key().unwrap());
    }
}
