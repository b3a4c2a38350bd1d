//! HTTP by `curl`, which suffices for the few requests to servers of the testbed.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{error::Error, run};

/// The TLS and request settings of a client for one server.
#[derive(Clone, Default)]
pub struct Client {
    /// The file with the authority that signed the server's certificate.
    pub authority: Option<PathBuf>,
    /// Files with the client's certificate and key; `None` without a certificate.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Credentials of basic authentication, `name:password`; `None` without any.
    pub user: Option<String>,
    /// Further headers of every request. Other users of the machine cannot see them.
    pub headers: Vec<(&'static str, String)>,
    /// `host:port:address`: the address at which a name is reached, in place of DNS. `None` for
    /// DNS.
    pub local: Option<String>,
}

/// The response of a server.
#[derive(Debug)]
pub struct Answer {
    /// The status code of the response.
    pub status: u16,
    /// The headers of the response, in the order in which they were sent.
    pub headers: Vec<(String, String)>,
    /// The body of the response as text.
    pub body: String,
}

impl Answer {
    /// Returns the value of a header; its name may be in any case. `None` without the header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }

    /// Returns the response unchanged if its status is the expected one.
    pub(crate) fn expect(self, status: u16, request: &str) -> Result<Self, Error> {
        if self.status == status {
            return Ok(self);
        }
        Err(Error::Answer {
            request: request.into(),
            status: self.status,
            expected: status,
            body: self.body.chars().take(500).collect(),
        })
    }
}

impl Client {
    /// Sends one request; `body` is its type and the file that contains it.
    ///
    /// # Errors
    /// There was no response. A response with any status is returned.
    pub fn request(
        &self,
        method: &str,
        url: &str,
        body: Option<(&str, &Path)>,
    ) -> Result<Answer, Error> {
        let mut command = Command::new("curl");
        // No proxy, no ~/.curlrc. Credentials go through standard input, which is hidden from other
        // users.
        command.args(["--disable", "--noproxy", "*", "--silent", "--show-error"]);
        command.args(["--include", "--max-time", "60", "--config", "-"]);
        if method == "HEAD" {
            command.arg("--head");
        } else {
            command.args(["--request", method]);
        }
        if let Some((kind, file)) = body {
            command.args(["--header", "Expect:", "--header", &format!("Content-Type: {kind}")]);
            command.arg("--data-binary").arg(format!("@{}", file.display()));
        }
        let mut child = command
            .arg(url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io("start curl (Debian package curl)"))?;
        if let Some(mut input) = child.stdin.take() {
            // If curl has ended already, its own message is more precise.
            let _ = input.write_all(self.config().as_bytes());
        }
        let output = child.wait_with_output().map_err(Error::io("wait for curl"))?;
        if !output.status.success() {
            return Err(Error::Command {
                command: format!("curl {method} {url}"),
                status: output.status,
                output: run::tail(&String::from_utf8_lossy(&output.stderr)),
            });
        }
        parse(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| Error::Deadline {
            what: format!("an HTTP answer to {method} {url}"),
            seconds: 60,
            last: "something else".into(),
        })
    }

    /// Returns the input of `curl --config -`.
    fn config(&self) -> String {
        let mut config = String::new();
        let mut set = |name: &str, value: &str| {
            let value = value.replace('\\', r"\\").replace('"', "\\\"");
            let _ = writeln!(config, "{name} = \"{value}\"");
        };
        if let Some(authority) = &self.authority {
            set("cacert", &authority.to_string_lossy());
        }
        if let Some((certificate, key)) = &self.identity {
            set("cert", &certificate.to_string_lossy());
            set("key", &key.to_string_lossy());
        }
        if let Some(user) = &self.user {
            set("user", user);
        }
        for (name, value) in &self.headers {
            set("header", &format!("{name}: {value}"));
        }
        if let Some(local) = &self.local {
            set("resolve", local);
        }
        config
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { authority, identity, user: _, headers: _, local } = self;
        let mut shown = f.debug_struct("Client");
        shown.field("authority", authority).field("identity", identity).field("local", local);
        shown.finish_non_exhaustive()
    }
}

/// Parses the output of `curl --include`. A `100 Continue` may precede the response.
fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    if (100..200).contains(&status) {
        return parse(body);
    }
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Some(Answer { status, headers, body: body.to_owned() })
}
