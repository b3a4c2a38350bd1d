//! The CRI client, against every containerd.

use image_swap_lab::HostOptions;
use image_swap_node::{Version, cri::Error};

use crate::{
    Outcome,
    containerd_host::{ContainerdHost, DEADLINE},
    images::TAG,
    lab,
};

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn runtime_reports_version_pulls_lists_and_removes() -> Outcome {
    let (runtimes, content) = lab()?;
    for containerd in &runtimes.containerds {
        let stage = ContainerdHost::of(containerd, content, &HostOptions::default())?;
        assert!(matches!(stage.client(), Err(Error::Unreachable { .. })));
        stage.start();
        let mut client = stage.client()?;
        assert!(client.peer().is_some());
        let runtime = client.version()?;
        assert_eq!(runtime.name, "containerd");
        assert_eq!(Version::parse(&runtime.version), Version::parse(&containerd.version));
        let configuration = client.configuration()?.unwrap();
        // Up to 1.7 the settings of registries are part of it.
        assert_eq!(configuration.contains("registry"), containerd.version.starts_with("1."));
        assert_eq!(client.running()?, [""; 0]);
        assert_eq!(client.images()?, []);
        let image = format!("quay.io/team/app:{TAG}");
        let pulled = client.pull(&image, DEADLINE)?;
        assert_eq!(pulled.tags, std::slice::from_ref(&image));
        assert!(pulled.digests[0].starts_with("quay.io/team/app@sha256:"), "{pulled:?}");
        assert_eq!(client.image(&image)?, Some(pulled.clone()));
        assert_eq!(client.images()?, [pulled]);
        client.remove(&image)?;
        assert_eq!(client.image(&image)?, None);
        let error = client.pull("quay.io/team/none:1", DEADLINE).unwrap_err();
        assert!(error.to_string().contains("not found"), "{error}");
    }
    Ok(())
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn dead_cri_differs_from_absent_runtime() -> Outcome {
    let (runtimes, content) = lab()?;
    for containerd in &runtimes.containerds {
        let stage = ContainerdHost::of(containerd, content, &HostOptions::default())?;
        stage.config("version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n");
        let status = stage.host.inside(stage.restart_command()).status()?;
        assert!(status.success());
        let error = image_swap_testbed::until("containerd", DEADLINE, || {
            match stage.client().and_then(|mut client| client.version()) {
                Err(error) if error.is_dead_plugin() => Ok(error),
                other => Err(image_swap_testbed::Wait::NotYet(format!("{other:?}"))),
            }
        })?;
        assert!(error.to_string().contains("unknown service"), "{error}");
    }
    Ok(())
}
