//! `image-swap webhook`, as a newcomer meets it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
    thread,
};

use serde_json::Value;

/// Returns the root of the repository, which is the directory of a newcomer.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn webhook(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_image-swap"));
    command.current_dir(root()).arg("webhook").args(arguments);
    command.env_remove("XDG_STATE_HOME").env_remove("HOME");
    command
}

/// A server that is running.
pub(crate) struct Webhook {
    pub(crate) child: Child,
    stderr: BufReader<ChildStderr>,
    lines: Vec<String>,
}

impl Webhook {
    /// Starts the webhook on ports that the system chooses, and reads its first lines.
    pub(crate) fn start(declaration: &str, state: &Path, more: &[&str]) -> Self {
        let state = state.to_str().unwrap();
        let own = ["--registry-info", declaration, "--certificate-dir", state];
        Self::spawn(&[&own, more].concat())
    }

    fn spawn(arguments: &[&str]) -> Self {
        let mut command = webhook(&["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        let mut child = command.args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut webhook = Self { child, stderr, lines: Vec::new() };
        while !webhook.next_line().contains("declaration: ") {}
        webhook
    }

    fn next_line(&mut self) -> &str {
        let mut line = String::new();
        assert!(self.stderr.read_line(&mut line).unwrap() > 0, "it ended: {:#?}", self.lines);
        self.lines.push(line.trim_end().to_owned());
        self.lines.last().unwrap()
    }

    /// Returns the rest of the line that begins with `label`.
    pub(crate) fn line_after(&self, label: &str) -> &str {
        let found = self.lines.iter().find_map(|line| line.strip_prefix(label));
        assert!(found.is_some(), "{label}? {:#?}", self.lines);
        found.unwrap()
    }

    /// Sends SIGTERM, and returns the exit code and the remaining output.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let rest = std::io::read_to_string(&mut self.stderr).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

fn has_curl() -> bool {
    Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok()
}

fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(output: &Output, code: i32, expected: &[&str]) {
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{printed}");
    assert!(output.stdout.is_empty());
    for expected in expected {
        assert!(printed.contains(expected), "{expected}? {printed}");
    }
}

#[test]
fn printed_curl_command_works() {
    if !has_curl() {
        eprintln!("skipped: this test needs curl on the PATH");
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let webhook = Webhook::start("examples/registry-secret.yaml", state.path(), &[]);
    let answer: Value =
        serde_json::from_str(&sh(&["curl ", webhook.line_after("curl ")].concat())).unwrap();
    let request = fs::read(root().join("examples/admission-review.json")).unwrap();
    let request: Value = serde_json::from_slice(&request).unwrap();
    assert_eq!(answer["response"]["uid"], request["request"]["uid"]);
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
    let ready = webhook
        .line_after("probes and metrics: ")
        .replace("/healthz, /readyz, /metrics", "/readyz");
    assert_eq!(sh(&format!("curl --silent {ready}")), "ready\n");
    assert_eq!(webhook.stop().0, Some(0));
}

/// Covers both protocols. Old versions of curl report a stream that ends early instead of the
/// response.
#[test]
fn refusals_reach_curl_over_both_protocols() {
    if !has_curl() {
        eprintln!("skipped: this test needs curl on the PATH");
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let webhook = Webhook::start("examples/registry-secret.yaml", state.path(), &[]);
    let url = webhook.line_after("listening on ").strip_suffix("/mutate").unwrap();
    let ca = webhook.line_after("CA certificate (self-signed): ");
    let large = state.path().join("large.json");
    fs::write(&large, vec![b' '; 9 << 20]).unwrap();
    let large = large.to_str().unwrap();
    let review = "examples/admission-review.json";
    let json = "content-type: application/json";
    for protocol in ["--http1.1", "--http2"] {
        for (body, kind, path, code, times) in [
            (review, json, "/validate", "404", 50),
            (review, "content-type: text/plain", "/mutate", "415", 50),
            (large, json, "/mutate", "413", 5),
            (large, json, "/validate", "404", 5),
        ] {
            for _ in 0..times {
                let answer = sh(&format!(
                    "curl --silent --show-error {protocol} --cacert {ca} --data-binary @{body} \
                     --header '{kind}' --header expect: --write-out '%{{http_code}}' {url}{path}"
                ));
                assert!(answer.starts_with("{\"message\":\"expected "), "{answer}");
                assert!(answer.ends_with(&format!("\"}}\n{code}")), "{answer}");
            }
        }
        for _ in 0..50 {
            let answer = sh(&format!(
                "curl --silent --show-error {protocol} --cacert {ca} --request PUT \
                 --data-binary @{review} --header '{json}' {url}/mutate"
            ));
            assert!(answer.ends_with("found PUT\"}\n"), "{answer}");
        }
    }
    assert_eq!(webhook.stop().0, Some(0));
}

// guarantee: 3b
#[test]
fn changed_declaration_is_logged_and_reloaded() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("secret.yaml");
    let text = fs::read_to_string(root().join("examples/registry-secret.yaml")).unwrap();
    fs::write(&file, &text).unwrap();
    let more = ["--log-format", "json"];
    let mut webhook = Webhook::start(file.to_str().unwrap(), state.path(), &more);
    fs::write(&file, text.replace("kind: Secret", "kind: ConfigMap")).unwrap();
    while !webhook.next_line().contains("the last good one stays in force") {}
    fs::write(&file, text.replace("ghcr.io::", "ghcr.example::")).unwrap();
    while !webhook.next_line().contains("reloaded the declaration") {}
    // Every line of the log is an object.
    let logged = webhook.lines.iter().skip_while(|line| !line.starts_with('{'));
    for line in logged {
        assert!(serde_json::from_str::<Value>(line).unwrap().is_object(), "{line}");
    }
    let (code, rest) = webhook.stop();
    assert_eq!(code, Some(0));
    assert!(rest.contains("shutting down"), "{rest}");
}

// guarantee: 3b, 6b
#[test]
fn no_credential_is_logged() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("secret.yaml");
    let text = fs::read_to_string(root().join("examples/registry-secret.yaml")).unwrap();
    let text = text.replace("PASSWORD: \"\"", "PASSWORD: \"hunter2-hunter2\"");
    assert!(text.contains("hunter2-hunter2"));
    fs::write(&file, &text).unwrap();
    let mut webhook =
        Webhook::start(file.to_str().unwrap(), state.path(), &["--log-level", "trace"]);
    for broken in [
        text.replace("INSECURE: \"false\"", "INSECURE: \"hunter2-hunter2\""),
        text.replace("PASSWORD: ", "PASSWORD "),
        text.replace("stringData:", "data:"),
    ] {
        assert_ne!(broken, text);
        fs::write(&file, broken).unwrap();
        while !webhook.next_line().contains("the last good one stays") {}
    }
    let printed = webhook.lines.join("\n");
    let (_, rest) = webhook.stop();
    for text in [printed, rest] {
        for secret in ["hunter2", "aHVudGVyMi"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

/// Starts an API server that answers every request with `body`, and returns its address.
fn api_server(body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
            // The empty line ends the head; no request has a body.
            while request.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let length = body.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            // A client that has gone needs no response.
            let _ = write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    });
    address
}

// guarantee: 6b
#[test]
fn invalid_response_of_api_server_is_not_logged() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("kubeconfig");
    for data in [r#""hunter2-hunter2""#, r#"{"PASSWORD":"hunter2-hunter2"}"#] {
        let list = format!(
            r#"{{"kind":"SecretList","metadata":{{"resourceVersion":"1"}},"items":[{{"metadata":{{}},"data":{data}}}]}}"#
        );
        let address = api_server(list.leak());
        let kubeconfig = format!(
            "{{kind: Config, apiVersion: v1, current-context: a, \
             contexts: [{{name: a, context: {{cluster: a, user: a}}}}], \
             clusters: [{{name: a, cluster: {{server: 'http://{address}'}}}}], \
             users: [{{name: a, user: {{token: a}}}}]}}"
        );
        fs::write(&file, kubeconfig).unwrap();
        let file = file.to_str().unwrap();
        let cluster = ["--in-cluster", "--namespace", "apps", "--kubeconfig", file];
        let mut webhook = Webhook::spawn(&[&cluster[..], &["--log-level", "trace"]].concat());
        while !webhook.next_line().contains("restarting the watch") {}
        let printed = webhook.lines.join("\n");
        let (_, rest) = webhook.stop();
        assert!(printed.contains("cannot parse the response"), "{printed}");
        for text in [printed, rest] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}

#[test]
fn webhook_requires_a_usable_declaration() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("authority");
    let begin = |declaration: &[&str]| {
        let mut command = webhook(declaration);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.arg("--certificate-dir").arg(&directory).output().unwrap()
    };
    refused(&begin(&[]), 2, &["--registry-info"]);
    refused(&begin(&["--registry-info", "none.yaml"]), 2, &["none.yaml"]);
    refused(&begin(&["--registry-info", "Cargo.toml"]), 2, &["Cargo.toml"]);
    refused(&begin(&["--mirrors", "docker.io::not a domain"]), 2, &["invalid-target"]);
    assert!(!directory.exists());
}

#[test]
fn port_in_use_is_named() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("authority");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (flag, ports) in [
        ("--listen: ", ["--listen", &taken, "--admin-listen", "127.0.0.1:0"]),
        ("--admin-listen: ", ["--listen", "127.0.0.1:0", "--admin-listen", &taken]),
    ] {
        let mut command = webhook(&["--mirrors", "docker.io::mirror.example"]);
        let output = command.args(ports).arg("--certificate-dir").arg(&directory).output().unwrap();
        refused(&output, 1, &[&taken, flag, "another process listens there"]);
        assert!(!directory.exists());
    }
}

#[test]
fn unusable_certificate_is_named() {
    let begin = |tls: &[&str]| {
        let mut command = webhook(&["--mirrors", "docker.io::mirror.example"]);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(tls).output().unwrap()
    };
    refused(&begin(&["--tls-cert", "Cargo.toml"]), 2, &["--tls-key"]);
    let missing = begin(&["--tls-cert", "none.crt", "--tls-key", "none.key"]);
    refused(&missing, 1, &["cannot read the certificate none.crt: "]);
    let neither = begin(&["--tls-cert", "Cargo.toml", "--tls-key", "Cargo.toml"]);
    refused(&neither, 1, &["Cargo.toml", "expected one unencrypted PEM block"]);
}

#[test]
fn temporary_authority_is_removed_at_the_end() {
    let webhook = Webhook::spawn(&["--mirrors", "docker.io::h.io"]);
    let ca = Path::new(webhook.line_after("CA certificate (self-signed): ")).to_owned();
    assert!(ca.is_file());
    webhook.line_after("declaration: 1 rule, ");
    assert_eq!(webhook.stop().0, Some(0));
    assert!(!ca.parent().unwrap().exists());
}
