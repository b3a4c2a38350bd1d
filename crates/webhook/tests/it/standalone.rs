//! What a standalone server prints works.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::SystemTime,
};

use image_swap_webhook::{TryIt, names};

use crate::support::{Answer, Site};

/// The repository's root, where a newcomer stands.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

#[tokio::test]
async fn the_line_it_prints_works_when_pasted() {
    let present = Command::new("curl").arg("--version").stdout(Stdio::null()).status();
    if present.is_err() {
        eprintln!("skipped: this test needs curl on the PATH");
        return;
    }
    let site = Site::start_empty(|_| ()).await;
    site.rules.replace(crate::support::mk_rules(crate::support::LIST));
    // As if it listened on every address, which it need not for this.
    let address = SocketAddr::from(([0, 0, 0, 0], site.address.port()));
    let names = names(address, &[]);
    site.certificate.replace(site.authority.issue(&names, SystemTime::now()).unwrap());
    let line = TryIt { authority: site.authority.certificate_file(), address }.to_string();

    let output = tokio::task::spawn_blocking(move || {
        Command::new("sh").arg("-c").arg(line).current_dir(root()).output()
    });
    let output = output.await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer = Answer {
        status: hyper::StatusCode::OK,
        headers: [(hyper::header::CONTENT_TYPE, "application/json".parse().unwrap())]
            .into_iter()
            .collect(),
        text: String::from_utf8(output.stdout).unwrap(),
    };
    assert_eq!(answer.swapped().unwrap(), "mirror.example/docker.io/library/nginx");
    assert_eq!(answer.json()["response"]["uid"], "6f0d1a4e-5c0f-4a58-9f0a-0c9f6d3f1b7e");
}
