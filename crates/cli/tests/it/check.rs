use crate::run::{example, image_swap, image_swap_with, root};

#[test]
fn examples_have_no_findings() {
    for file in ["registry-secret.yaml", "values.yaml"] {
        let ran = image_swap(&["check", "--filename", &example(file)]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "7 rules: 0 errors, 0 warnings\n"));
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn list_of_palette_has_two_collisions() {
    for (flag, file) in [("--registry-info", "registry-secret.yaml"), ("--values", "values.yaml")] {
        let file = root().join("tests/testkit/palette").join(file);
        let ran = image_swap(&["check", flag, file.to_str().unwrap(), "--output", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let codes: Vec<_> =
            ran.json().iter().map(|row| row["code"].as_str().unwrap().to_owned()).collect();
        assert_eq!(codes, ["collision", "collision"]);
    }
}

#[test]
fn filename_takes_every_kind_of_declaration() {
    for (file, target) in [
        ("registry-secret.yaml", "harbor.example.org/airgap-images/docker.io/library/nginx"),
        ("values.yaml", "harbor.example.org/airgap-images/docker.io/library/nginx"),
        ("imageswap-map.conf", "harbor.example.org/airgap-images/library/nginx"),
    ] {
        let text = std::fs::read_to_string(example(file)).unwrap();
        for (path, input) in [(example(file), ""), ("-".to_owned(), text.as_str())] {
            let args = ["explain", "-f", &path, "--output", "json", "nginx"];
            let ran = image_swap_with(&args, input);
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{file}");
            assert_eq!(ran.json()[0]["swapped"], target, "{file}");
        }
    }
    let long: String = (0..60_000).map(|n| format!("h{n}.io::mirror.io/h{n}.io\n")).collect();
    assert!(long.len() > 1 << 20);
    let ran = image_swap_with(&["explain", "-q", "-f", "-", "nginx"], &long);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn filename_of_another_kind_is_named() {
    for (text, found) in [
        ("apiVersion: v1\nkind: ConfigMap\n", "found a ConfigMap of Kubernetes"),
        ("mirrors: docker.io\n", "neither the Secret registry-info, nor Helm values"),
        ("", "neither the Secret registry-info, nor Helm values"),
        ("kind: Secret\nstringData:\n\tDOMAIN: a\n", "line 3, column 2"),
    ] {
        let ran = image_swap_with(&["check", "-f", "-"], text);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{text}");
        assert!(ran.stderr.contains(found), "{text}: {}", ran.stderr);
    }
}

#[test]
fn quiet_leaves_out_warnings_but_no_errors() {
    let rules = "docker.io::h.io/d,*::h.io/e";
    let explain = ["explain", "--mirrors", rules, "nginx"];
    assert!(image_swap(&explain).stderr.contains("warning[dead-rule]"));
    for flag in ["-q", "--quiet"] {
        assert_eq!(image_swap(&[&explain[..], &[flag]].concat()).stderr, "");
        let ran = image_swap(&[flag, "explain", "--mirrors", "docker.io::nohost", "nginx"]);
        assert!(ran.code == 2 && ran.stderr.contains("error[invalid-target]"), "{}", ran.stderr);
    }
}

/// Covers limits of a format and warnings about credentials: they concern only `check`, `render`
/// and `node`.
#[test]
fn warnings_concern_the_command() {
    let rules = "docker.io::http://h.io/d,quay.io/team::h.io/t,quay.io::h.io/q";
    let secret = image_swap_testkit::registry_info(&[
        ("DOMAIN", "h.io"),
        ("BASE_PATH", ""),
        ("USERNAME", "robot"),
        ("PASSWORD", "hunter2"),
        ("INSECURE", "false"),
        ("CA_CERT", ""),
        ("MIRROR_REGISTRIES", rules),
    ]);
    let warnings = |args: &[&str]| -> Vec<String> {
        let ran = image_swap_with(&[args, &["-f", "-"]].concat(), &secret);
        let text = [ran.stdout, ran.stderr].concat();
        let codes = text.lines().filter_map(|line| line.strip_prefix("warning[")?.split_once(']'));
        codes.map(|(code, _)| code.to_owned()).collect()
    };
    assert_eq!(warnings(&["check"]), ["credential-over-http", "node-inexpressible"]);
    assert_eq!(warnings(&["render", "registries-conf"]), ["credential-over-http"]);
    assert!(warnings(&["explain", "nginx"]).is_empty());
}

// guarantee: 3a
#[test]
fn json_has_six_fields() {
    let ran = image_swap(&[
        "check",
        "--mirrors",
        "docker.io::nohost,gcr.io::h.io/g,k8s.gcr.io::h.io/g",
        "--output",
        "json",
    ]);
    assert_eq!(ran.code, 1);
    let rows = ran.json();
    let keys: Vec<_> = rows[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["code", "column", "hint", "line", "message", "severity"]);
    assert_eq!(
        (rows[0]["severity"].as_str(), rows[0]["code"].as_str()),
        (Some("error"), Some("invalid-target"))
    );
    assert_eq!((rows[0]["line"].as_u64(), rows[0]["column"].as_u64()), (Some(1), Some(12)));
    assert_eq!(rows[1]["code"], "collision");
    assert_eq!(ran.stderr, "");
}

#[test]
fn text_shows_the_line_and_a_caret() {
    let ran = image_swap(&["check", "--map", &example("imageswap-map.conf")]);
    insta::assert_snapshot!(ran.whole());
    let bad = "docker.io::quay.io/x\nquay.io::https://user:hunter2@h.io/q\njunk\n";
    insta::assert_snapshot!(image_swap_with(&["check", "--map", "-"], bad).whole());
}

#[test]
fn map_without_default_is_reported_in_dialect_imageswap() {
    let args = ["check", "--map", "-", "--output", "json", "--dialect"];
    let map = "docker.io::h.io/d\n";
    assert_eq!(image_swap_with(&[&args[..], &["canonical"]].concat(), map).json().len(), 0);
    let ran = image_swap_with(&[&args[..], &["imageswap"]].concat(), map);
    assert_eq!((ran.json()[0]["code"].as_str(), ran.code), (Some("silent-no-op"), 1));
}

// guarantee: 1b
#[test]
fn check_reports_the_same_limits_as_render() {
    for (format, fallback) in [("k3s", "never"), ("docker", "upstream"), ("containerd", "never")] {
        let flags = ["--fallback", fallback, "--registry-info", &example("registry-secret.yaml")];
        let check = image_swap(
            &[&["check", "--output", "json", "--format", format], flags.as_slice()].concat(),
        );
        let render = image_swap(&[&["render", format], flags.as_slice()].concat());
        let rows = check.json();
        let reported: Vec<_> = rows
            .iter()
            .filter(|row| row["code"] == "node-inexpressible")
            .map(|row| row["message"].as_str().unwrap().split_once(": ").unwrap().1)
            .collect();
        let errors = render.stderr.lines().filter(|line| line.starts_with("error: "));
        let errors: Vec<_> = errors.map(|line| line.splitn(4, ": ").nth(3).unwrap()).collect();
        assert_eq!(reported, errors, "{format}");
        // Warnings are no bad news: pods follow every rule.
        assert_eq!((check.code, render.code), (0, i32::from(!reported.is_empty())), "{format}");
    }
    let usage = image_swap(&["check", "--mirrors", "docker.io::h.io", "--fallback", "never"]);
    assert_eq!(usage.code, 2, "{}", usage.stderr);
}

#[test]
fn declaration_without_effect_is_an_error() {
    for list in ["docker.io=harbor.example.org", "", "docker.io -> h.io/d", "gcr.io::"] {
        let ran = image_swap(&["check", "--mirrors", list, "--output", "json"]);
        let rows = ran.json();
        let found = rows.iter().find(|row| row["code"] == "silent-no-op").unwrap();
        assert_eq!((&found["severity"], ran.code), (&"error".into(), 1), "{list}");
    }
    let ran = image_swap_with(&["check", "--map", "-"], &"\0".repeat(10_000));
    assert_eq!(ran.code, 1, "{}", ran.stdout);
}

#[test]
fn warnings_fail_with_a_flag() {
    let list = "registry-1.docker.io::h.io/d";
    let ran = image_swap(&["check", "--mirrors", list]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("source-spelling") && ran.stdout.contains("write docker.io"));
    assert_eq!(image_swap(&["check", "--strict", "--mirrors", list]).code, 1);
    assert_eq!(image_swap(&["check", "--strict", "--mirrors", "docker.io::h.io/d"]).code, 0);
}

#[test]
fn file_for_another_flag_is_recognised() {
    for (flag, file, advice) in [
        ("--map", "values.yaml", "found Helm values: use --values"),
        ("--map", "registry-secret.yaml", "found the Secret registry-info: use --registry-info"),
        ("--values", "registry-secret.yaml", "found the Secret registry-info: use --registry-info"),
        ("--registry-info", "values.yaml", "found Helm values: use --values"),
        ("--registry-info", "imageswap-map.conf", "found an imageswap map: use --map"),
        ("--values", "imageswap-map.conf", "found an imageswap map: use --map"),
    ] {
        let ran = image_swap(&["check", flag, &example(file)]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{flag} {file}");
        assert!(ran.stderr.contains(advice), "{flag} {file}: {}", ran.stderr);
    }
}

#[test]
fn values_that_kubernetes_rejects_are_rejected() {
    let secret = std::fs::read_to_string(example("registry-secret.yaml")).unwrap();
    let line = secret.lines().find(|line| line.contains("INSECURE:")).unwrap();
    for value in ["false", "1", "on", "-1.5", ".5"] {
        let text = secret.replace(line, &format!("  INSECURE: {value}"));
        let ran = image_swap_with(&["check", "--registry-info", "-"], &text);
        assert_eq!(ran.code, 2, "{value}");
        assert!(ran.stderr.contains("INSECURE: expected a string"), "{}", ran.stderr);
    }
}

#[test]
fn short_names_on_nodes_are_a_warning() {
    let codes = |format: &str, list: &str| -> Vec<String> {
        let ran = image_swap(&["check", "--format", format, "--mirrors", list, "--output", "json"]);
        ran.json().iter().map(|row| row["code"].as_str().unwrap().to_owned()).collect()
    };
    assert!(codes("registries-conf", "docker.io::h.io/d").contains(&"short-names".to_owned()));
    assert!(!codes("registries-conf", "quay.io::h.io/q").contains(&"short-names".to_owned()));
    assert!(!codes("containerd", "docker.io::h.io/d").contains(&"short-names".to_owned()));
}

#[test]
fn declarations_have_any_number_of_comments() {
    for (flag, file, key) in [
        ("--values", "values.yaml", "ociImageRegistry:\n"),
        ("--registry-info", "registry-secret.yaml", "stringData:\n"),
    ] {
        let text = std::fs::read_to_string(example(file)).unwrap();
        let commented = [key, &"  # comment\n".repeat(10_000)].concat();
        let text = text.replace(key, &commented);
        assert!(text.len() > 100_000, "{file}");
        let ran = image_swap_with(&["check", flag, "-"], &text);
        assert_eq!(ran.code, 0, "{file}: {}", ran.stderr);
    }
}

#[test]
fn help_lists_only_declarations_below_their_heading() {
    for verb in ["check", "explain", "rewrite", "render"] {
        let help = image_swap(&[verb, "--help"]).stdout;
        let below = help.split("Declaration (one of):").nth(1).unwrap();
        // The next heading is not indented.
        let below = below.lines().skip(1).take_while(|it| it.is_empty() || it.starts_with(' '));
        let options = below.map(str::trim_start).filter(|line| line.starts_with('-'));
        assert_eq!(options.count(), 5, "{verb}: {help}");
    }
}
