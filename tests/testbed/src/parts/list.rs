//! All parts by name.

use std::path::{Path, PathBuf};

use super::Parts;
use crate::error::Missing;

impl Parts {
    /// Returns every program with its path, and the reason for every missing group.
    pub fn list(&self) -> Vec<Result<(String, &Path), &Missing>> {
        fn add<'p>(
            list: &mut Vec<Result<(String, &'p Path), &'p Missing>>,
            group: Result<Vec<(&str, &'p PathBuf)>, &'p Missing>,
        ) {
            match group {
                Ok(parts) => {
                    let parts = parts.into_iter();
                    list.extend(parts.map(|(name, path)| Ok((name.to_owned(), path.as_path()))));
                }
                Err(missing) => list.push(Err(missing)),
            }
        }
        let mut list = Vec::new();
        add(
            &mut list,
            self.servers.as_ref().map(|parts| {
                vec![
                    ("etcd", &parts.etcd),
                    ("kube-apiserver", &parts.kube_apiserver),
                    ("kubectl", &parts.kubectl),
                ]
            }),
        );
        add(
            &mut list,
            self.controllers.as_ref().map(|parts| {
                vec![
                    ("kube-controller-manager", &parts.kube_controller_manager),
                    ("kube-scheduler", &parts.kube_scheduler),
                ]
            }),
        );
        add(
            &mut list,
            self.node.as_ref().map(|parts| {
                vec![
                    ("kubelet", &parts.kubelet),
                    ("kube-proxy", &parts.kube_proxy),
                    ("containerd", &parts.containerd),
                    ("runc", &parts.runc),
                    ("crictl", &parts.crictl),
                    ("CNI plugins", &parts.cni),
                ]
            }),
        );
        add(
            &mut list,
            self.registry.as_ref().map(|parts| {
                vec![
                    ("registry 3", &parts.registry),
                    ("registry 2.8", &parts.registry2),
                    ("busybox", &parts.busybox),
                ]
            }),
        );
        add(
            &mut list,
            self.helm
                .as_ref()
                .map(|parts| vec![("helm 4", &parts.helm4), ("helm 3", &parts.helm3)]),
        );
        let cluster_api = self.cluster_api.as_ref();
        add(&mut list, cluster_api.map(|parts| vec![("Cluster API", &parts.folder)]));
        match &self.runtimes {
            Ok(parts) => {
                list.extend(parts.containerds.iter().map(|part| {
                    Ok((format!("containerd {}", part.version), part.program.as_path()))
                }));
                let tools = [
                    ("podman", &parts.podman),
                    ("skopeo", &parts.skopeo),
                    ("strace", &parts.strace),
                ];
                list.extend(tools.map(|(name, part)| Ok((name.to_owned(), part.path.as_path()))));
            }
            Err(missing) => list.push(Err(missing)),
        }
        list
    }
}
