//! Which references to pull.

use image_swap_core::{declaration::Declaration, mirror::Endpoint, reference::Reference};

/// A registry, and a reference to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The host of the registry.
    pub host: String,
    /// Mirrors of the host, in the order of requests.
    pub endpoints: Vec<Endpoint>,
    /// The reference to pull; `None` if none is known.
    pub reference: Option<String>,
}

/// Chooses one reference for each registry with a mirror, first among `wanted`, then among `known`,
/// the images of the host. An image is recognised under the mirror's name, as swapped pods name it,
/// and under its own.
pub fn candidates(
    declaration: &Declaration,
    wanted: &[String],
    known: &[String],
) -> Vec<Candidate> {
    let all = mirrored(declaration);
    let of_host = |(host, endpoints): &(String, Vec<Endpoint>)| {
        let reference = wanted
            .iter()
            .find(|image| is_of(image, host))
            .cloned()
            // An image known under the mirror's name is preferred, since the mirror has it.
            .or_else(|| known.iter().find_map(|image| unswapped(image, host, endpoints, &all)))
            .or_else(|| known.iter().find(|image| is_of(image, host)).cloned());
        Candidate { host: host.clone(), endpoints: endpoints.clone(), reference }
    };
    all.iter().map(of_host).collect()
}

/// Returns the mirrors of each registry that has at least one.
fn mirrored(declaration: &Declaration) -> Vec<(String, Vec<Endpoint>)> {
    let mirrors = declaration.mirrors();
    let hosts = mirrors.hosts().filter(|(_, endpoints)| !endpoints.is_empty());
    hosts.map(|(host, endpoints)| (host.to_owned(), endpoints.to_vec())).collect()
}

fn is_of(image: &str, host: &str) -> bool {
    Reference::parse(image).is_ok_and(|reference| reference.domain() == host)
}

/// Returns the reference of `host` that the mirror serves as `image`; `None` if a longer path of
/// another registry's mirror matches.
fn unswapped(
    image: &str,
    host: &str,
    endpoints: &[Endpoint],
    all: &[(String, Vec<Endpoint>)],
) -> Option<String> {
    let longest = all.iter().flat_map(|(_, endpoints)| endpoints);
    let longest = longest.filter_map(|endpoint| below(image, endpoint)).map(str::len).min()?;
    let rest = endpoints.iter().find_map(|endpoint| below(image, endpoint))?;
    let found = [host, "/", rest].concat();
    (rest.len() == longest && is_of(&found, host)).then_some(found)
}

/// Returns the part of `image` below `endpoint`; `None` if it is elsewhere.
fn below<'a>(image: &'a str, endpoint: &Endpoint) -> Option<&'a str> {
    let rest = image.strip_prefix(&endpoint.host)?.strip_prefix('/')?;
    if endpoint.path.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix(&endpoint.path)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use image_swap_core::declaration::DeclarationSource;

    use super::*;

    #[test]
    fn reference_is_wanted_or_known() {
        let rules = "docker.io::h.io/d,gcr.io::h.io/g,quay.io::h.io,ghcr.io::h.io/x";
        let declaration = Declaration::read(DeclarationSource::Mirrors, rules, 0).unwrap();
        let known = ["h.io/d/library/nginx:1", "gcr.io/team/app:2", "h.io/q/a:1"].map(String::from);
        let wanted = ["ghcr.io/wanted:1".to_owned()];
        let found = candidates(&declaration, &wanted, &known);
        let found: Vec<_> =
            found.iter().map(|found| (found.host.as_str(), found.reference.as_deref())).collect();
        assert_eq!(
            found,
            [
                ("docker.io", Some("docker.io/library/nginx:1")),
                ("gcr.io", Some("gcr.io/team/app:2")),
                ("ghcr.io", Some("ghcr.io/wanted:1")),
                ("quay.io", Some("quay.io/q/a:1")),
            ]
        );
    }
}
