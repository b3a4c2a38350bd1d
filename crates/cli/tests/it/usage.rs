use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    thread,
};

use crate::run::{example, image_swap, image_swap_with};

#[test]
fn every_verb_needs_one_declaration() {
    for verb in [&["explain", "nginx"][..], &["check"], &["convert"]] {
        let ran = image_swap(verb);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{verb:?}");
        assert!(ran.stderr.contains("--registry-info"), "{}", ran.stderr);
        let two = [verb, &["--map", "x", "--mirrors", "docker.io::h.io"]].concat();
        assert_eq!(image_swap(&two).code, 2, "{verb:?}");
    }
    assert_eq!(image_swap(&["explain", "--mirrors", "docker.io::h.io"]).code, 2);
    assert_eq!(image_swap(&[]).code, 2);
}

#[test]
fn a_declaration_that_is_refused_gives_nothing_on_standard_output() {
    let secret = fs::read_to_string(example("registry-secret.yaml")).unwrap();
    for (from, to) in [
        ("kind: Secret", "kind: ConfigMap"),
        ("\"false\"", "\"maybe\""),
        ("CA_CERT: \"\"", "CA_CERT: junk"),
        ("docker.io::harbor.example.org", "docker.io::harbor"),
        ("harbor.example.org\"", "REPLACE_WITH_CUSTOM_REGISTRY_DOMAIN\""),
        ("  ", ""),
        ("stringData:", "stringData: ["),
    ] {
        assert!(secret.contains(from), "{from}");
        let broken = secret.replace(from, to);
        let ran = image_swap_with(&["explain", "--registry-info", "-", "nginx"], &broken);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{from}");
        assert!(ran.stderr.contains("line "), "{}", ran.stderr);
    }
}

#[test]
fn what_is_refused_says_where_and_what_to_do() {
    let secret = fs::read_to_string(example("registry-secret.yaml")).unwrap();
    let explain =
        |text: &str| image_swap_with(&["explain", "--registry-info", "-", "nginx"], text).whole();
    let flat: String = secret.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    insta::assert_snapshot!("flat", explain(&flat));
    insta::assert_snapshot!(
        "chain",
        explain(&secret.replace("gcr.io::harbor.example.org", "gcr.io::quay.io"))
    );
    insta::assert_snapshot!("no_boolean", explain(&secret.replace("\"false\"", "\"maybe\"")));
    insta::assert_snapshot!("missing", explain(&secret.replace("  INSECURE: \"false\"\n", "")));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let ran = image_swap(&["check", "--map", "/nonexistent/map.conf"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("/nonexistent/map.conf"), "{}", ran.stderr);
}

#[test]
fn a_cluster_that_is_not_there_is_no_bad_news_but_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kubeconfig");
    // Nobody listens on that port.
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
        contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n\
        clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n";
    fs::write(&file, kubeconfig).unwrap();
    for file in [file.to_str().unwrap(), "/nonexistent"] {
        for output in ["text", "json"] {
            let ran = image_swap(&["status", "--kubeconfig", file, "--output", output]);
            assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
            assert!(ran.stderr.starts_with("error: cannot "), "{}", ran.stderr);
        }
    }
}

#[test]
fn leave_takes_the_cluster_of_a_context() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let first_request = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        let body = r#"{"kind":"Status","status":"Failure","reason":"Forbidden","code":403}"#;
        let head = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\nconnection: close";
        write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        line
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kubeconfig");
    // The cluster of the current context has no API server.
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nusers: [{{name: u, user: {{}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}, \
         {{name: d, context: {{cluster: d, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:1'}}}}, \
         {{name: d, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n",
    );
    fs::write(&file, kubeconfig).unwrap();
    let leave = ["leave", "--kubeconfig", file.to_str().unwrap(), "-n", "swap", "--context"];
    let ran = image_swap(&[&leave[..], &["none"]].concat());
    assert!(ran.code == 1 && ran.stderr.contains("none"), "{}", ran.stderr);
    let ran = image_swap(&[&leave[..], &["d"]].concat());
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(first_request.join().unwrap().contains("/clusterroles/image-swap"));
}

#[test]
fn completions_and_man_pages_are_printed() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = image_swap(&["completions", shell]);
        assert!(ran.code == 0 && ran.stdout.contains("registry-info"), "{shell}");
    }
    assert!(image_swap(&["man"]).stdout.contains(".TH image-swap 1"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let new = directory.path().join("share/man");
    assert_eq!(image_swap(&["man", "--out", new.to_str().unwrap()]).code, 0);
    assert!(new.join("image-swap.1").is_file());
    assert_eq!(image_swap(&["man", "--out", path]).code, 0);
    for page in ["image-swap.1", "image-swap-explain.1", "image-swap-check.1"] {
        let page = fs::read_to_string(directory.path().join(page)).unwrap();
        assert!(page.contains(".TH image-swap"), "{page}");
    }
    assert_eq!(image_swap(&["man", "--out", "/dev/null/man"]).code, 1);
}

#[test]
fn no_colour_reaches_a_pipe() {
    let ran = image_swap(&["check", "--values", &example("values.yaml")]);
    assert!(!ran.stdout.contains('\u{1b}'));
}

#[test]
fn runtime_that_no_rule_configures_is_a_problem() {
    let host = tempfile::tempdir().unwrap();
    let root = host.path().to_str().unwrap();
    let plan = |mirrors: &str| {
        let of_docker = ["--root", root, "--runtime", "docker", "--mirrors", mirrors];
        image_swap(&[&["node", "plan"], &of_docker[..]].concat())
    };
    // dockerd has mirrors of Docker Hub only, and without a path.
    for more in ["", ",default::", ",gcr.io/own::"] {
        let ran = plan(&format!("quay.io::h.io/q,docker.io::h.io/d{more}"));
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        assert!(ran.stderr.contains("docker can express none of 2 rules"), "{}", ran.stderr);
    }
    let ran = plan("quay.io::h.io/q,docker.io::h.io,default::");
    assert!(ran.code == 0 && ran.stdout.contains("1 file to change"), "{}", ran.stdout);
    fs::create_dir_all(host.path().join("etc/containerd")).unwrap();
    fs::write(host.path().join("etc/containerd/config.toml"), "version = 2\n").unwrap();
    let ran = image_swap(&["node", "restore", "--root", root, "--runtime", "containerd"]);
    assert_eq!((ran.code, &*ran.stdout), (0, "containerd: nothing to restore\n"), "{}", ran.stderr);
}
