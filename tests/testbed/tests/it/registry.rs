//! The registry.

use image_swap_testbed::{
    Authority, Credentials, Error, Image, Registry, RegistryOptions, RegistryVersion,
};

use crate::{Outcome, parts};

fn start(options: &RegistryOptions) -> Result<(Registry, Image), Error> {
    let registry = Registry::start(parts(), options)?;
    Ok((registry, Image::busybox(parts().registry()?, "test", &["sh"])?))
}

fn credentials(password: &str) -> Credentials {
    Credentials { username: "robot".into(), password: password.into() }
}

#[test]
#[ignore = "needs the registry: cargo xtask test"]
fn push_is_logged_with_host_and_port() -> Outcome {
    let (registry, image) = start(&RegistryOptions::default())?;
    let reference = registry.push("library/app", "1.0", &image)?;
    assert_eq!(reference, format!("{}/library/app:1.0", registry.address()));
    let requests = registry.requests()?;
    let last = requests.last().unwrap();
    assert_eq!((last.method.as_str(), last.status), ("PUT", 201));
    assert_eq!(last.path, "/v2/library/app/manifests/1.0");
    Ok(())
}

#[test]
#[ignore = "needs the registry: cargo xtask test"]
fn registry_with_a_certificate_speaks_tls() -> Outcome {
    let authority = Authority::new("test")?;
    let host = "registry.example.com";
    let options = RegistryOptions {
        tls: Some(authority.server(&[host])?),
        authority: Some(authority.certificate().to_owned()),
        host: Some(host.to_owned()),
        ..RegistryOptions::default()
    };
    let (registry, image) = start(&options)?;
    assert_eq!(registry.scheme(), "https");
    assert!(registry.push("app", "1", &image)?.starts_with("registry.example.com:"));
    Ok(())
}

#[test]
#[ignore = "needs the registry: cargo xtask test"]
fn changed_password_replaces_the_old_one() -> Outcome {
    let options =
        RegistryOptions { credentials: Some(credentials("old \"secret\"")), ..Default::default() };
    let (mut registry, image) = start(&options)?;
    registry.push("app", "1", &image)?;
    registry.set_credentials(&credentials("new"))?;
    registry.push("app", "2", &image)?;
    let old = registry.request_as(&credentials("old \"secret\""), "GET", "/v2/")?;
    assert_eq!(old.status, 401);
    Ok(())
}

#[test]
fn debug_output_hides_passwords() {
    let shown = format!("{:?}", credentials("secret"));
    assert!(shown.contains("robot") && !shown.contains("secret"), "{shown}");
}

#[test]
#[ignore = "needs the registry: cargo xtask test"]
fn image_is_pulled_through_from_the_upstream() -> Outcome {
    let (upstream, image) = start(&RegistryOptions::default())?;
    upstream.push("library/app", "1", &image)?;
    let url = format!("{}://{}", upstream.scheme(), upstream.address());
    let options = RegistryOptions { upstream: Some(url), ..RegistryOptions::default() };
    let through = Registry::start(parts(), &options)?;
    let anyone = credentials("unused");
    let path = "/v2/library/app/manifests/1";
    let answer = through.request_as(&anyone, "GET", path)?;
    assert_eq!(answer.header("Docker-Content-Digest"), Some(image.digest().as_str()));
    let requests = upstream.requests()?;
    assert!(requests.iter().any(|request| request.path == path && request.status == 200));
    Ok(())
}

#[test]
#[ignore = "needs the registry: cargo xtask test"]
fn version_2_takes_pushes() -> Outcome {
    let options = RegistryOptions { version: RegistryVersion::V2, ..RegistryOptions::default() };
    let (registry, image) = start(&options)?;
    registry.push("app", "1", &image).map(drop)?;
    Ok(())
}
