//! Exit codes of `image-swap fleet` when requests fail.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use tempfile::NamedTempFile;

use crate::run::{Ran, image_swap};

/// Status and body of a response.
type Response = (u16, &'static str);

const FAILED: Response = (
    500,
    r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"etcd is slow","code":500}"#,
);
const EMPTY: Response = (
    200,
    r#"{"kind":"List","apiVersion":"image-swap.io/v1alpha1","metadata":{"resourceVersion":"1"},"items":[]}"#,
);

/// Answers the request of `stream` by its path.
fn respond(stream: &mut TcpStream, answer: fn(&str) -> Response) {
    let mut lines = BufReader::new(&mut *stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.find(String::is_empty);
    let (status, body) = answer(request.split(' ').nth(1).unwrap_or_default());
    let head = "content-type: application/json\r\nconnection: close";
    let length = body.len();
    // The program may have closed the connection.
    let _ = write!(
        stream,
        "HTTP/1.1 {status} Status\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
}

/// Starts an API server that returns `answer` for a path. Returns a kubeconfig of it.
fn api_server(answer: fn(&str) -> Response) -> NamedTempFile {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            respond(&mut stream, answer);
        }
    });
    kubeconfig(&format!("http://127.0.0.1:{port}"))
}

/// Returns a kubeconfig of the API server at `server`.
fn kubeconfig(server: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    write!(
        file,
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nusers: [{{name: u, user: {{}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n",
    )
    .unwrap();
    file
}

/// Runs `image-swap fleet` with `words` and a kubeconfig.
fn fleet(words: &[&str], kubeconfig: &NamedTempFile) -> Ran {
    let path = kubeconfig.path().to_str().unwrap();
    image_swap(&[&["fleet"], words, &["--kubeconfig", path]].concat())
}

#[test]
fn failed_request_of_enrolment_exits_with_1() {
    let server = api_server(|_| FAILED);
    for verb in ["enroll", "revoke"] {
        let ran = fleet(&[verb, "edge", "--namespace", "clusters"], &server);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{verb}: {}", ran.stderr);
        assert!(ran.stderr.contains("etcd is slow"), "{}", ran.stderr);
    }
    // No process listens on that port.
    let silent = kubeconfig("http://127.0.0.1:1");
    let ran = fleet(&["enroll", "edge", "--namespace", "clusters"], &silent);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    let ran = fleet(&["enroll", "Edge", "--namespace", "clusters"], &server);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
}

#[test]
fn fleet_status_lists_unreadable_namespaces() {
    let server =
        api_server(|path| if path.contains("/namespaces/broken/") { FAILED } else { EMPTY });
    let ran = fleet(&["status", "-n", "team-a", "-n", "broken"], &server);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let unreadable = "unreadable: cannot list workloadclusters in namespace broken";
    assert!(ran.stdout.contains(unreadable), "{}", ran.stdout);
    let ran = fleet(&["status", "-n", "broken"], &server);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("etcd is slow"), "{}", ran.stderr);
    assert_eq!(fleet(&["status", "-n", "team-a"], &server).code, 0);
}

// Helm must not fail with its hook.
#[test]
fn noted_references_exit_with_0() {
    let server = api_server(|_| FAILED);
    let list = ["references", "--namespaces", "team-a"];
    let note = [&list[..], &["--note"]].concat();
    let (without, with) = (fleet(&list, &server), fleet(&note, &server));
    assert_eq!((without.code, with.code), (1, 0), "{}{}", without.stdout, with.stdout);
    assert!(with.stdout.contains("etcd is slow"), "{}", with.stdout);

    let unusable = NamedTempFile::new().unwrap();
    let (without, with) = (fleet(&list, &unusable), fleet(&note, &unusable));
    assert_eq!((without.code, with.code), (2, 0), "{}{}", without.stderr, with.stderr);
    assert!(with.stdout.contains("cannot connect to a cluster"), "{}", with.stdout);
}
