use std::process::Command;

use serde_json::{Value, json};

use crate::run::{example, image_swap, image_swap_with};

fn explain(declaration: &[&str], images: &[&str]) -> Vec<Value> {
    let mut args = vec!["explain", "--output", "json"];
    args.extend(declaration);
    args.extend(images);
    image_swap(&args).json()
}

#[test]
fn json_has_every_field() {
    let secret = example("registry-secret.yaml");
    let rows = explain(&["--registry-info", &secret], &["nginx:1.25", "Nginx"]);
    assert_eq!(
        rows[0],
        json!({
            "input": "nginx:1.25",
            "domain": "docker.io",
            "path": "library/nginx",
            "tag": "1.25",
            "digest": null,
            "normalized": "docker.io/library/nginx:1.25",
            "swapped": "harbor.example.org/airgap-images/docker.io/library/nginx:1.25",
            "changed": true,
            "reason": "rule",
            "rule": {
                "source": "docker.io",
                "target": "harbor.example.org/airgap-images/docker.io",
                "line": 1,
                "column": 1,
                "key": "MIRROR_REGISTRIES",
            },
            "pulls": [
                "https://harbor.example.org/v2/airgap-images/docker.io/library/nginx/manifests/1.25",
                "https://registry-1.docker.io/v2/library/nginx/manifests/1.25",
            ],
            "short_name": true,
            "nodes_agree": true,
        })
    );
    assert_eq!(rows[1].as_object().unwrap().len(), 2);
    assert_eq!(rows[1]["input"], "Nginx");
    assert!(rows[1]["error"].as_str().unwrap().starts_with("expected a lowercase letter"));
}

#[test]
fn reasons_have_documented_names() {
    let map = example("imageswap-map.conf");
    let cases = [
        ("harbor.example.org/airgap-images/quay.io/x", "already-mirrored"),
        ("busybox:1.36", "exact"),
        ("1234.dkr.ecr.eu-west-1.amazonaws.com/team/app:1", "replace"),
        ("nginx", "rule"),
        ("mcr.microsoft.com/a:1", "default"),
        ("ghcr.io/a/b", "disabled"),
        ("internal.example.com/a", "noswap"),
    ];
    let images: Vec<&str> = cases.iter().map(|case| case.0).collect();
    for (row, (image, reason)) in explain(&["--map", &map], &images).iter().zip(cases) {
        assert_eq!(row["reason"], reason, "{image}");
        let kept = ["already-mirrored", "disabled", "noswap"].contains(&reason);
        assert_eq!(row["changed"], !kept, "{image}");
        assert_eq!(row["swapped"] == image, kept, "{image}");
    }
    assert_eq!(explain(&["--mirrors", "gcr.io::h.io"], &["nginx"])[0]["reason"], "no-rule");
    let row = &explain(&["--mirrors", "docker.io::h.io/UPPER"], &["nginx"])[0];
    assert_eq!(
        (&row["reason"], &row["rule"]["target"]),
        (&json!("invalid-result"), &json!("h.io/UPPER"))
    );
}

#[test]
fn rule_has_its_position_in_file_or_value() {
    let map = example("imageswap-map.conf");
    let row = &explain(&["--map", &map], &["quay.io/team/app"])[0]["rule"];
    assert_eq!(
        (&row["source"], &row["line"], &row["column"], &row["key"]),
        (&json!("quay.io/team"), &json!(7), &json!(1), &Value::Null)
    );
    let row = &explain(&["--values", &example("values.yaml")], &["gcr.io/a"])[0]["rule"];
    assert_eq!(
        (&row["line"], &row["column"], &row["key"]),
        (&json!(1), &json!(55), &json!("mirrorRegistries"))
    );
    let row = &explain(&["--map", &map], &["busybox:1.36"])[0]["rule"];
    assert_eq!(row["source"], "[EXACT]docker.io/library/busybox:1.36");
}

#[test]
fn pulls_are_correct_for_inexpressible_rules() {
    let list = "quay.io/team::h.io/t,quay.io::h.io/q";
    let row = &explain(&["--mirrors", list], &["quay.io/team/app:1"])[0];
    assert_eq!(row["swapped"], "h.io/t/app:1");
    assert_eq!(row["pulls"][0], "https://h.io/v2/q/team/app/manifests/1");
    assert_eq!(row["nodes_agree"], false);
    let row = &explain(&["--mirrors", list, "--fallback", "never"], &["quay.io/other:1"])[0];
    assert_eq!(row["pulls"], json!(["https://h.io/v2/q/other/manifests/1"]));
    assert_eq!(row["nodes_agree"], true);
}

#[test]
fn dialect_imageswap_explains_as_upstream() {
    let row =
        &explain(&["--mirrors", "docker.io::h.io/d", "--dialect", "imageswap"], &["nginx"])[0];
    assert_eq!((&row["swapped"], &row["nodes_agree"]), (&json!("h.io/d/nginx"), &json!(false)));
}

#[test]
fn lines_hold_images_comments_and_white_space() {
    let args =
        ["explain", "--mirrors", "docker.io::h.io", "--output", "json", "--images-from", "-"];
    let ran = image_swap_with(&args, "\u{feff}nginx\n\n redis # c\n# d\nbusybox\r\n\t\r\nlast");
    let rows = ran.json();
    let inputs: Vec<&str> = rows.iter().map(|row| row["input"].as_str().unwrap()).collect();
    assert_eq!(inputs, ["nginx", "redis", "busybox", "last"]);
    assert_eq!(ran.code, 0);
    assert_eq!(image_swap_with(&args, "nginx\nRedis\n").code, 1);
}

#[test]
fn file_in_utf_16_is_rejected_with_advice() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "\u{feff}docker.io::h.io/d\r\n";
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(file.path(), bytes).unwrap();
    let path = file.path().to_str().unwrap();
    for args in [
        &["explain", "--mirrors", "docker.io::h.io", "--images-from", path][..],
        &["check", "--map", path],
        &["check", "--registry-info", path],
    ] {
        let ran = image_swap(args);
        assert_eq!(ran.code, 2, "{args:?}");
        assert!(ran.stderr.contains("the text is UTF-16; save it as UTF-8"), "{}", ran.stderr);
    }
}

#[test]
fn image_id_is_pulled_from_no_registry() {
    let id = ["sha256:", &"0a".repeat(32)].concat();
    let row = &explain(&["--mirrors", "docker.io::h.io"], &[&id])[0];
    assert_eq!((&row["swapped"], &row["reason"]), (&json!(id), &json!("image-id")));
    assert_eq!((&row["pulls"], &row["nodes_agree"]), (&json!([]), &json!(true)));
}

#[test]
fn nodes_agree_if_every_runtime_does() {
    let agree = |image: &str| explain(&["--mirrors", "docker.io::h.io/d"], &[image])[0].clone();
    for (image, short_name, nodes_agree) in [
        ("nginx", true, true),
        ("docker.io/library/fedora:42", false, true),
        // By the aliases of CRI-O and podman these are not Docker Hub's.
        ("fedora:42", true, false),
        ("ubi8", true, false),
        ("opensuse/leap:15", true, false),
        // Runtimes compare hosts by case.
        ("Docker.IO/library/nginx", false, false),
    ] {
        let row = agree(image);
        assert_eq!(row["changed"], true, "{image}");
        assert_eq!(
            (&row["short_name"], &row["nodes_agree"]),
            (&json!(short_name), &json!(nodes_agree)),
            "{image}"
        );
    }
    let row = &explain(&["--mirrors", "quay.io::h.io/q"], &["fedora"])[0];
    assert_eq!((&row["changed"], &row["nodes_agree"]), (&json!(false), &json!(true)));
}

#[test]
fn invalid_utf8_fails_only_its_own_input() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"ng\xffinx\nredis\n").unwrap();
    let path = file.path().to_str().unwrap();
    let ran = image_swap(&[
        "explain",
        "--mirrors",
        "docker.io::h.io",
        "--output",
        "json",
        "--images-from",
        path,
    ]);
    assert_eq!(ran.code, 1);
    assert!(ran.json()[0].get("error").is_some() && ran.json()[1].get("error").is_none());
}

/// Streams 100,000 images, whose results are longer than 50 MB, with a limit of 40 MB for data.
/// (Code does not count: an unoptimised build is as large by itself.)
#[test]
fn hundred_thousand_images_stream_through() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let images: String =
        (0..100_000).map(|n| format!("quay.io/team/application-{n}:1.0\n")).collect();
    std::fs::write(file.path(), images).unwrap();
    let script = format!(
        "ulimit -d 40000; exec '{}' explain --mirrors quay.io::harbor.example.org/airgap-images/quay.io \
         --output json --images-from '{}' | wc -lc",
        env!("CARGO_BIN_EXE_image-swap"),
        file.path().display()
    );
    let ran = Command::new("sh").args(["-c", &script]).output().unwrap();
    let counted = String::from_utf8(ran.stdout).unwrap();
    let counts: Vec<usize> = counted.split_whitespace().map(|n| n.parse().unwrap()).collect();
    assert_eq!(counts[0], 100_000, "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(counts[1] > 50_000_000, "{counts:?}");
}

#[test]
fn closed_output_is_not_an_error() {
    let script = format!(
        "yes nginx | head -50000 | '{}' explain --mirrors docker.io::h.io --images-from - | head -1 >/dev/null",
        env!("CARGO_BIN_EXE_image-swap")
    );
    let ran = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8(ran.stderr).unwrap(), "");
}

#[test]
fn text_shows_rules_and_reasons() {
    let images = ["nginx", "quay.io/team/app:1", "busybox:1.36", "ghcr.io/a/b", "Nginx"];
    let map = example("imageswap-map.conf");
    let mut args = vec!["explain", "--map", &map];
    args.extend(images);
    let ran = image_swap(&args);
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.stdout);
}

#[test]
fn odd_images_are_named_with_a_hint() {
    let ran = image_swap(&["explain", "--mirrors", "docker.io::h.io", "", "https://quay.io/a/b"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.starts_with("\"\"\n  error: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("hint: remove https://"), "{}", ran.stdout);
}
