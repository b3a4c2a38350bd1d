//! No credential in any output, base64 forms included.

use std::fs;

use crate::{
    bundle,
    run::{example, image_swap_with},
};

pub(crate) const USER: &str = "robot-hunter1";
pub(crate) const PASSWORD: &str = "hunter2-hunter2";
/// `base64` of the two, of `user:password`, and of their parts at any offset.
const ENCODED: [&str; 5] = [
    "cm9ib3QtaHVudGVy",
    "aHVudGVyMi1odW50ZXIy",
    "cm9ib3QtaHVudGVyMTpodW50",
    "dW50ZXIyLWh1bnRlcj",
    "odW50ZXIyLWh1bnRlcjI",
];

/// Fails if `text` has a part of the credential in any form.
pub(crate) fn no_credential(text: &str) {
    for secret in [USER, PASSWORD, "hunter2"].iter().chain(&ENCODED) {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

// guarantee: 6b
#[test]
fn no_verb_prints_a_credential() {
    let secret = fs::read_to_string(example("registry-secret.yaml")).unwrap();
    let secret = secret
        .replace("USERNAME: \"\"", &format!("USERNAME: {USER}"))
        .replace("PASSWORD: \"\"", &format!("PASSWORD: {PASSWORD}"));
    let base64 = "apiVersion: v1\nkind: Secret\nmetadata: {name: registry-info, namespace: jet-system}\ndata:\n  \
         DOMAIN: aC5pbw==\n  BASE_PATH: \"\"\n  INSECURE: ZmFsc2U=\n  USERNAME: cm9ib3QtaHVudGVyMQ==\n  \
         PASSWORD: aHVudGVyMi1odW50ZXIy\n  MIRROR_REGISTRIES: Z2NyLmlvOjpoLmlv\n";
    let with_user = |user: &str| {
        secret.replace("docker.io::harbor", &format!("docker.io::https://{user}@harbor"))
    };
    let broken = [
        secret.clone(),
        base64.to_owned(),
        with_user(&format!("{USER}:{PASSWORD}")),
        // A comma ends an item of the list, and errors show only a part of a long line.
        with_user(&format!("{USER}:{PASSWORD},x")),
        with_user(&format!("{USER}:1,{PASSWORD}, ,x")),
        with_user(&format!("{USER}:{PASSWORD}{}", "x".repeat(70))),
        // A map cuts a target at `#`, and a source at `::`.
        with_user(&format!("{USER}:{PASSWORD}#9")),
        with_user(&format!("ann:4321#{PASSWORD}")),
        with_user(&format!("{PASSWORD}#9")),
        with_user(&format!("{USER}:{PASSWORD}::9")),
        with_user(&format!("{USER}:{PASSWORD} 9")),
        with_user(&format!("{USER}:{PASSWORD}''9")),
        secret.replace("docker.io::harbor", &format!("https://{USER}:{PASSWORD}::@harbor")),
        secret.replace("docker.io::harbor", &format!("ann:{PASSWORD}@harbor")),
        secret.replace("docker.io::harbor", &format!("https://{USER}:{PASSWORD}::harbor")),
        secret.replace("DOMAIN", &format!("CREDENTIAL_HOSTS: {USER}:{PASSWORD}@h.io\n  DOMAIN")),
        // Invalid forms of the password: errors must not quote the found text.
        secret.replace(PASSWORD, &format!("\"{PASSWORD}")),
        secret.replace(PASSWORD, &format!("*{PASSWORD}")),
        secret.replace(PASSWORD, &format!("!<{PASSWORD}")),
        secret.replace(PASSWORD, &format!("[{PASSWORD}")),
        secret.replace(PASSWORD, &format!("{PASSWORD}: {PASSWORD}: x")),
        secret.replace("\"harbor.example.org\"", &format!("{USER}:{PASSWORD}@harbor.example.org")),
        secret.replace("CA_CERT: \"\"", &format!("CA_CERT: {PASSWORD}")),
        secret.replace("INSECURE: \"false\"", &format!("INSECURE: {PASSWORD}")),
        base64.replace("aHVudGVyMi1odW50ZXIy", "aHVudGVyMi1odW50ZXIy!"),
        secret.lines().map(|line| format!("{}\n", line.trim_start())).collect(),
    ];
    let bundle = bundle::file();
    for text in broken {
        for verb in [
            &["explain", "nginx", "harbor.example.org/x"][..],
            &["explain", "--output", "json", "nginx"],
            &["explain", "--dialect", "imageswap", "nginx"],
            &["explain", "--dialect", "imageswap", "--output", "json", "nginx"],
            &["check"],
            &["check", "--output", "json"],
            &["check", "--dialect", "imageswap"],
            &["convert"],
            &["render", "containerd"],
            &["render", "containerd-mirrors"],
            &["render", "registries-conf"],
            &["render", "k3s"],
            &["render", "talos"],
            &["render", "bootstrap"],
            &["render", "kubeadm-patch"],
            &["render", "kubeadm-patch", "--kind", "RKE2ControlPlane"],
            &["render", "kubeadm-patch", "--kind", "KThreesConfigTemplate"],
            &["render", "cluster-class-patch"],
            &["render", "bundle", "--bundle", &bundle],
        ] {
            let ran = image_swap_with(&[verb, &["--registry-info", "-"]].concat(), &text);
            no_credential(&ran.stdout);
            no_credential(&ran.stderr);
        }
    }
}
