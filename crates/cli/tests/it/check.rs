use crate::run::{example, image_swap, image_swap_with};

#[test]
fn the_pages_examples_are_fine() {
    for (flag, file) in [("--registry-info", "registry-secret.yaml"), ("--values", "values.yaml")] {
        let ran = image_swap(&["check", flag, &example(file), "--output", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let codes: Vec<_> =
            ran.json().iter().map(|row| row["code"].as_str().unwrap().to_owned()).collect();
        assert_eq!(codes, ["collision", "collision"]);
    }
}

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
fn a_map_without_default_is_told_in_the_dialect_imageswap() {
    let args = ["check", "--map", "-", "--output", "json", "--dialect"];
    let map = "docker.io::h.io/d\n";
    assert_eq!(image_swap_with(&[&args[..], &["canonical"]].concat(), map).json().len(), 0);
    let ran = image_swap_with(&[&args[..], &["imageswap"]].concat(), map);
    assert_eq!((ran.json()[0]["code"].as_str(), ran.code), (Some("silent-no-op"), 1));
}

#[test]
fn what_a_format_cannot_hold_is_told_as_render_tells_it() {
    for (format, fallback) in [("k3s", "never"), ("docker", "upstream"), ("containerd", "never")] {
        let flags = ["--fallback", fallback, "--registry-info", &example("registry-secret.yaml")];
        let check = image_swap(
            &[&["check", "--output", "json", "--format", format], flags.as_slice()].concat(),
        );
        let render = image_swap(&[&["render", format], flags.as_slice()].concat());
        let rows = check.json();
        let told: Vec<_> = rows
            .iter()
            .filter(|row| row["code"] == "node-inexpressible")
            .map(|row| row["message"].as_str().unwrap().split_once(": ").unwrap().1)
            .collect();
        let errors = render.stderr.lines().filter(|line| line.starts_with("error: "));
        let errors: Vec<_> = errors.map(|line| line.splitn(4, ": ").nth(3).unwrap()).collect();
        assert_eq!(told, errors, "{format}");
        // Warnings are no bad news: pods follow every rule.
        assert_eq!((check.code, render.code), (0, i32::from(!told.is_empty())), "{format}");
    }
    let usage = image_swap(&["check", "--mirrors", "docker.io::h.io", "--fallback", "never"]);
    assert_eq!(usage.code, 2, "{}", usage.stderr);
}

#[test]
fn a_declaration_that_swaps_nothing_is_an_error() {
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
fn warnings_are_fatal_if_that_is_wanted() {
    let list = "registry-1.docker.io::h.io/d";
    let ran = image_swap(&["check", "--mirrors", list]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("source-spelling") && ran.stdout.contains("write docker.io"));
    assert_eq!(image_swap(&["check", "--strict", "--mirrors", list]).code, 1);
    assert_eq!(image_swap(&["check", "--strict", "--mirrors", "docker.io::h.io/d"]).code, 0);
}

#[test]
fn a_file_for_another_flag_is_recognised() {
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
fn values_of_a_secret_that_kubernetes_refuses_are_refused() {
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
fn nodes_that_look_short_names_up_are_a_warning() {
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
        let options = below.map(str::trim_start).filter(|line| line.starts_with("--"));
        assert_eq!(options.count(), 4, "{verb}: {help}");
    }
}
