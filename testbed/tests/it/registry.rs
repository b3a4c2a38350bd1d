//! The registry.

use image_swap_testbed::{
    Authority, Credentials, Error, Image, Registry, RegistryOptions, or_skip,
};

use crate::{Outcome, parts};

fn start(options: &RegistryOptions) -> Result<Option<(Registry, Image)>, Error> {
    let Some(registry) = or_skip(Registry::start(parts(), options))? else { return Ok(None) };
    Ok(Some((registry, Image::busybox(parts().registry()?, "test", &["sh"])?)))
}

fn credentials(password: &str) -> Credentials {
    Credentials { username: "robot".into(), password: password.into() }
}

#[test]
fn what_is_pushed_is_logged_and_called_by_host_and_port() -> Outcome {
    let Some((registry, image)) = start(&RegistryOptions::default())? else { return Ok(()) };
    let reference = registry.push("library/app", "1.0", &image)?;
    assert_eq!(reference, format!("{}/library/app:1.0", registry.address()));
    let requests = registry.requests()?;
    let last = requests.last().unwrap();
    assert_eq!((last.method.as_str(), last.status), ("PUT", 201));
    assert_eq!(last.path, "/v2/library/app/manifests/1.0");
    Ok(())
}

#[test]
fn a_registry_with_a_certificate_and_a_name_speaks_tls_under_it() -> Outcome {
    let authority = Authority::new("test")?;
    let host = "registry.example.com";
    let options = RegistryOptions {
        tls: Some(authority.server(&[host])?),
        authority: Some(authority.certificate().to_owned()),
        host: Some(host.to_owned()),
        credentials: None,
    };
    let Some((registry, image)) = start(&options)? else { return Ok(()) };
    assert_eq!(registry.scheme(), "https");
    assert!(registry.push("app", "1", &image)?.starts_with("registry.example.com:"));
    Ok(())
}

#[test]
fn a_changed_password_is_in_force_and_the_old_one_is_not() -> Outcome {
    let options =
        RegistryOptions { credentials: Some(credentials("old \"secret\"")), ..Default::default() };
    let Some((mut registry, image)) = start(&options)? else { return Ok(()) };
    registry.push("app", "1", &image)?;
    registry.set_credentials(&credentials("new"))?;
    registry.push("app", "2", &image)?;
    let old = registry.request_as(&credentials("old \"secret\""), "GET", "/v2/")?;
    assert_eq!(old.status, 401);
    Ok(())
}

#[test]
fn passwords_are_not_in_what_is_printed_for_debugging() {
    let shown = format!("{:?}", credentials("secret"));
    assert!(shown.contains("robot") && !shown.contains("secret"), "{shown}");
}
