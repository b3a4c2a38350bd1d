//! The requests that a registry has answered.

/// One answered request, from the registry's own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// `GET`, `HEAD`, `PUT`, …
    pub method: String,
    /// Path and query of the request.
    pub path: String,
    /// The status code of the answer.
    pub status: u16,
    /// The client, as it names itself.
    pub agent: String,
}

/// Reads the combined log format: `host - user [time] "request" status size
/// "referer" "agent"`. A line that is still being written is left out.
pub(super) fn parse(text: &str) -> Vec<Logged> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Logged> {
    let mut quoted = line.split('"');
    let mut request = quoted.nth(1)?.split(' ');
    let (method, path) = (request.next()?, request.next()?);
    let status = quoted.next()?.trim().split(' ').next()?.parse().ok()?;
    let agent = quoted.nth(2).unwrap_or_default();
    Some(Logged { method: method.into(), path: path.into(), status, agent: agent.into() })
}

#[cfg(test)]
mod tests {
    use super::{Logged, parse};

    const LINE: &str = r#"127.0.0.1 - - [22/Nov/2026:10:00:00 +0000] "GET /v2/a/manifests/1 HTTP/1.1" 200 739 "" "containerd/1.6.20""#;

    #[test]
    fn line_has_user_and_request() {
        let logged = parse(&format!("{LINE}\n"));
        assert_eq!(
            logged,
            [Logged {
                method: "GET".into(),
                path: "/v2/a/manifests/1".into(),
                status: 200,
                agent: "containerd/1.6.20".into()
            }]
        );
    }

    #[test]
    fn incomplete_line_is_omitted() {
        assert_eq!(parse(&format!("{LINE}\n{}", &LINE[..60])).len(), 1);
    }
}
