//! Tests of reloads of the declaration, after every kind of change of a file.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, RecvError, TryRecvError},
    },
    time::Duration,
};

use image_swap_serve::{ReloadCounts, pki::CertificateInForce};
use image_swap_webhook::{
    AdmissionMetrics, RulesInForce,
    reload::{self, Accepted},
    watch::Watch,
};
use tokio::sync::watch;

use crate::support::{WebhookServer, mk_rules, mount};

const ONE: &str = "docker.io::one.example";
const TWO: &str = "docker.io::two.example";
const BAD: &str = "password: hunter2";

/// Time between two polls of the files.
const SOON: Duration = Duration::from_millis(5);

/// Accepts any text with `::` as a declaration.
fn accept(text: &str) -> Result<Accepted, String> {
    if text.contains("::") {
        Ok(Accepted { rules: mk_rules(text), warnings: vec!["a warning".to_owned()] })
    } else {
        Err("line 1, column 1: expected a rule".to_owned())
    }
}

/// A server that follows the file of its declaration.
struct Followed {
    site: WebhookServer,
    file: PathBuf,
    reloads: watch::Receiver<ReloadCounts>,
    _following: reload::FileFollower,
}

impl Followed {
    /// Starts a server that follows the file that `place` creates in a directory with [`ONE`] as
    /// its content.
    async fn start(place: impl FnOnce(&Path) -> PathBuf) -> Self {
        let site = WebhookServer::start().await;
        let directory = site.directory.path().join("declaration");
        fs::create_dir(&directory).unwrap();
        let file = place(&directory);
        let mut watch = Watch::new(&[&file]).looking_every(SOON);
        let first = reload::read_declaration(&file, &watch.read()[0], &accept).unwrap();
        site.rules.replace(first.rules);
        let reloads = site.metrics.declaration_reloads.subscribe();
        let following = reload::follow_declaration(
            watch,
            file.clone(),
            accept,
            site.rules.clone(),
            Arc::clone(&site.metrics),
        );
        let followed = Self { site, file, reloads, _following: following.unwrap() };
        followed.assert_in_force("one.example").await;
        followed
    }

    /// Starts a server that follows a plain file.
    async fn start_plain() -> Self {
        Self::start(|directory| {
            let file = directory.join("list");
            fs::write(&file, ONE).unwrap();
            file
        })
        .await
    }

    /// Asserts that images are swapped to `mirror`.
    async fn assert_in_force(&self, mirror: &str) {
        let expected = format!("{mirror}/library/nginx");
        assert_eq!(self.site.swapped("nginx").await.unwrap(), expected);
    }

    /// Waits for `count` successful reloads.
    async fn after_success(&mut self, count: u64) {
        self.reloads.wait_for(|counts| counts.success >= count).await.unwrap();
    }

    /// Waits for `count` failed reloads.
    async fn after_failure(&mut self, count: u64) {
        self.reloads.wait_for(|counts| counts.failure >= count).await.unwrap();
    }
}

#[tokio::test]
async fn mounted_secret_is_followed() {
    let mut followed = Followed::start(|directory| {
        mount(directory, "0", &[("secret.yaml", ONE)]);
        directory.join("secret.yaml")
    })
    .await;
    let root = followed.file.parent().unwrap().to_owned();
    for (version, text, mirror) in
        [("1", TWO, "two.example"), ("2", ONE, "one.example"), ("3", TWO, "two.example")]
    {
        mount(&root, version, &[("secret.yaml", text)]);
        followed.after_success(version.parse().unwrap()).await;
        followed.assert_in_force(mirror).await;
    }
    mount(&root, "4", &[("secret.yaml", BAD)]);
    followed.after_failure(1).await;
    followed.assert_in_force("two.example").await;
}

#[tokio::test]
async fn file_written_in_place_is_followed() {
    let mut followed = Followed::start_plain().await;
    fs::write(&followed.file, TWO).unwrap();
    followed.after_success(1).await;
    followed.assert_in_force("two.example").await;
}

#[tokio::test]
async fn file_renamed_over_is_followed() {
    let mut followed = Followed::start_plain().await;
    let mut new = tempfile::NamedTempFile::new_in(followed.file.parent().unwrap()).unwrap();
    new.write_all(TWO.as_bytes()).unwrap();
    new.persist(&followed.file).unwrap();
    followed.after_success(1).await;
    followed.assert_in_force("two.example").await;
}

// guarantee: 3b
#[tokio::test]
async fn bad_declaration_is_counted_and_not_used() {
    let mut followed = Followed::start_plain().await;
    fs::write(&followed.file, BAD).unwrap();
    followed.after_failure(1).await;
    followed.assert_in_force("one.example").await;
    let failures = r#"image_swap_declaration_reloads_total{result="failure"}"#;
    assert_eq!(followed.site.metric(failures).await, Some(1.0));
    // Invalid UTF-8 is a failure, too.
    fs::write(&followed.file, b"docker.io::\xff").unwrap();
    followed.after_failure(2).await;
    followed.assert_in_force("one.example").await;
    fs::write(&followed.file, TWO).unwrap();
    followed.after_success(1).await;
    followed.assert_in_force("two.example").await;
}

// guarantee: 3b
#[tokio::test]
async fn removed_file_keeps_the_last_rules() {
    let mut followed = Followed::start_plain().await;
    fs::remove_file(&followed.file).unwrap();
    followed.after_failure(1).await;
    followed.assert_in_force("one.example").await;
    fs::write(&followed.file, TWO).unwrap();
    followed.after_success(1).await;
    followed.assert_in_force("two.example").await;
}

#[tokio::test]
async fn recreated_directory_is_followed() {
    let mut followed = Followed::start_plain().await;
    let directory = followed.file.parent().unwrap().to_owned();
    for count in 1..=2 {
        fs::remove_dir_all(&directory).unwrap();
        followed.after_failure(count).await;
        fs::create_dir(&directory).unwrap();
        fs::write(&followed.file, TWO).unwrap();
        followed.after_success(count).await;
        followed.assert_in_force("two.example").await;
    }
}

#[tokio::test]
async fn replaced_directory_is_followed() {
    let mut followed = Followed::start_plain().await;
    let directory = followed.file.parent().unwrap().to_owned();
    for (count, text, mirror) in [(1, TWO, "two.example"), (3, ONE, "one.example")] {
        // The new directory may get the inode of the old one.
        fs::remove_dir_all(&directory).unwrap();
        fs::create_dir(&directory).unwrap();
        fs::write(&followed.file, text).unwrap();
        followed.after_success(count).await;
        followed.assert_in_force(mirror).await;
        fs::write(&followed.file, "docker.io::three.example").unwrap();
        followed.after_success(count + 1).await;
        followed.assert_in_force("three.example").await;
    }
}

#[tokio::test]
async fn exchanged_directory_is_followed() {
    let mut followed = Followed::start_plain().await;
    let directory = followed.file.parent().unwrap().to_owned();
    let next = directory.with_file_name("next");
    fs::create_dir(&next).unwrap();
    fs::write(next.join("list"), TWO).unwrap();
    fs::rename(&directory, directory.with_file_name("last")).unwrap();
    fs::rename(&next, &directory).unwrap();
    followed.after_success(1).await;
    followed.assert_in_force("two.example").await;
    fs::write(&followed.file, ONE).unwrap();
    followed.after_success(2).await;
    followed.assert_in_force("one.example").await;
}

#[tokio::test]
async fn retargeted_symlink_is_followed() {
    let mut followed = Followed::start(|directory| {
        for (name, text) in [("v1", ONE), ("v2", TWO)] {
            fs::create_dir(directory.join(name)).unwrap();
            fs::write(directory.join(name).join("list"), text).unwrap();
        }
        symlink("v1", directory.join("current")).unwrap();
        directory.join("current/list")
    })
    .await;
    let directory = followed.site.directory.path().join("declaration");
    symlink("v2", directory.join("next")).unwrap();
    fs::rename(directory.join("next"), directory.join("current")).unwrap();
    followed.after_success(1).await;
    followed.assert_in_force("two.example").await;
}

#[tokio::test]
async fn unchanged_content_causes_no_reload() {
    let mut followed = Followed::start_plain().await;
    fs::write(&followed.file, ONE).unwrap();
    fs::write(followed.file.with_file_name("neighbour"), TWO).unwrap();
    // The next change is the first that is counted.
    fs::write(&followed.file, TWO).unwrap();
    followed.after_success(1).await;
    followed.assert_in_force("two.example").await;
    assert_eq!(followed.reloads.borrow().success, 1);
}

#[tokio::test]
async fn reload_interrupts_no_review() {
    let mut followed = Followed::start_plain().await;
    let mut client = followed.site.h1().await;
    for count in 1..=5 {
        let text = if count % 2 == 1 { TWO } else { ONE };
        fs::write(&followed.file, text).unwrap();
        while followed.reloads.borrow_and_update().success < count {
            assert!(client.review("nginx").await.swapped().is_some());
        }
    }
}

#[test]
fn change_between_watch_and_read_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list");
    fs::write(&file, ONE).unwrap();
    let mut watch = Watch::new(&[&file]);
    fs::write(&file, TWO).unwrap();
    assert_eq!(watch.read()[0].as_ref().unwrap(), TWO.as_bytes());
    fs::write(&file, ONE).unwrap();
    assert_eq!(watch.changed().unwrap()[0].as_ref().unwrap(), ONE.as_bytes());
}

#[test]
fn dropped_follower_ends_its_thread() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("none");
    let watch = Watch::new(&[&file]).looking_every(Duration::from_hours(1000));
    // The thread holds the sender until it ends.
    let (sender, ended) = mpsc::channel::<()>();
    let accept = move |_: &str| {
        let _ = &sender;
        Err("unused".to_owned())
    };
    let rules = RulesInForce::default();
    let metrics = AdmissionMetrics::new(&rules, &CertificateInForce::default());
    let following = reload::follow_declaration(watch, file, accept, rules, metrics).unwrap();
    assert_eq!(ended.try_recv(), Err(TryRecvError::Empty));
    drop(following);
    assert_eq!(ended.recv(), Err(RecvError));
}
