use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    thread,
};

use crate::run::{example, image_swap, image_swap_in, image_swap_with, root};

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

// guarantee: 3a, 3b
#[test]
fn rejected_declaration_prints_nothing_on_standard_output() {
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

// guarantee: 3a
#[test]
fn errors_name_place_and_remedy() {
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
fn missing_file_is_named() {
    let ran = image_swap(&["check", "--map", "/nonexistent/map.conf"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("/nonexistent/map.conf"), "{}", ran.stderr);
}

#[test]
fn unreachable_cluster_is_neither_success_nor_problem() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kubeconfig");
    // No process listens on that port.
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
        contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n\
        clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n";
    fs::write(&file, kubeconfig).unwrap();
    for file in [file.to_str().unwrap(), "/nonexistent"] {
        for output in ["text", "json"] {
            for verb in [&["status"][..], &["fleet", "status"]] {
                let flags = ["--kubeconfig", file, "--output", output];
                let ran = image_swap(&[verb, &flags].concat());
                assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
                assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
            }
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
    let ran = image_swap(&["man", "--out", new.to_str().unwrap()]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert!(new.join("image-swap.1").is_file() && ran.stderr.contains("image-swap-explain.1\n"));
    assert_eq!(image_swap(&["man", "--out", path]).code, 0);
    for page in ["image-swap.1", "image-swap-explain.1", "image-swap-check.1"] {
        let page = fs::read_to_string(directory.path().join(page)).unwrap();
        assert!(page.contains(".TH image-swap"), "{page}");
    }
    assert_eq!(image_swap(&["man", "--out", "/dev/null/man"]).code, 1);
}

/// Returns the help of a command: `words`, and then `--help`.
fn help(words: &[&str]) -> String {
    let ran = image_swap(&[words, &["--help"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stdout
}

/// The commands of the program, and those below another one.
const COMMANDS: [&[&str]; 29] = [
    &["explain"],
    &["check"],
    &["convert"],
    &["rewrite"],
    &["render"],
    &["render", "bootstrap"],
    &["render", "kubeadm-patch"],
    &["render", "cluster-class-patch"],
    &["render", "bundle"],
    &["render", "node-restore"],
    &["node"],
    &["node", "plan"],
    &["node", "apply"],
    &["node", "status"],
    &["node", "verify"],
    &["node", "restore"],
    &["webhook"],
    &["controller"],
    &["agent"],
    &["status"],
    &["fleet"],
    &["fleet", "status"],
    &["fleet", "enroll"],
    &["fleet", "revoke"],
    &["fleet", "references"],
    &["deregister"],
    &["await-restore"],
    &["completions"],
    &["man"],
];

#[test]
fn help_has_examples_and_distinct_headings() {
    for words in COMMANDS {
        let text = help(words);
        let mut headings: Vec<&str> =
            text.lines().filter(|line| line.ends_with(':') && !line.starts_with(' ')).collect();
        assert_eq!(headings.last(), Some(&"Examples:"), "{words:?}: {text}");
        let count = headings.len();
        headings.sort_unstable();
        headings.dedup();
        assert_eq!(headings.len(), count, "{words:?}: {text}");
        if let Some(arguments) = text.find("\nArguments:") {
            assert!(arguments < text.find("\nOptions:").unwrap(), "{words:?}");
        }
        // The examples are commands of this program, in its own words.
        let examples = text.split("Examples:\n").nth(1).unwrap();
        let command = ["image-swap ", &words.join(" ")].concat();
        assert!(examples.contains(&command), "{words:?}: {examples}");
    }
}

#[test]
fn examples_of_the_help_run() {
    for words in COMMANDS {
        let text = help(words);
        // A backslash continues a line.
        let examples = text.split("Examples:\n").nth(1).unwrap().replace("\\\n", " ");
        for line in examples.lines() {
            // Quotations in examples contain no spaces.
            let line = line.split_whitespace().map(|it| it.trim_matches('\''));
            let line: Vec<&str> = line.collect();
            let of_files = ["explain", "check", "convert", "rewrite", "render"];
            let is_local = line.len() > 2 && line[0] == "image-swap" && of_files.contains(&line[1]);
            // Files of a user's own. `bundle` runs the examples about a bundle.
            let needs_file = line.contains(&"manifests/") || line.contains(&"bundle.yaml");
            if !is_local || needs_file || line.contains(&"--out") {
                continue;
            }
            let end = line.iter().position(|it| [">", "|"].contains(it)).unwrap_or(line.len());
            let ran = image_swap_in(&root(), &line[1..end], "");
            // `rewrite --check` lists changes.
            let expected = i32::from(line.contains(&"--check"));
            assert_eq!(ran.code, expected, "{line:?}: {}", ran.stderr);
        }
    }
}

#[test]
fn help_lists_commands_in_groups_without_internal_ones() {
    let text = help(&[]);
    for heading in ["Declarations:", "Manifests and nodes:", "Clusters:", "Exit codes:"] {
        assert!(text.lines().any(|line| line == heading), "{heading}: {text}");
    }
    for name in ["deregister", "leave", "await-restore"] {
        assert!(!text.contains(name), "{text}");
        assert!(help(&[name]).contains("--namespace"), "{name}");
    }
}

#[test]
fn address_without_ip_is_refused_with_an_example() {
    for verb in [&["webhook"][..], &["controller", "-n", "a"]] {
        let ran = image_swap(&[verb, &["--admin-listen", "localhost:8443"]].concat());
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.contains("expected IP:PORT, such as 127.0.0.1:8443"), "{}", ran.stderr);
    }
}

#[test]
fn agent_requires_the_name_of_its_node() {
    let ran = image_swap(&["agent", "--namespace", "a", "--runtime", "containerd"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("--node") && ran.stderr.contains("NODE_NAME"), "{}", ran.stderr);
    let ran = image_swap(&["agent", "--namespace", "a", "--node", "n", "--runtime", "docker"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("[possible values: containerd, crio, k3s]"), "{}", ran.stderr);
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
