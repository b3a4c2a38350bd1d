//! Verification of the source of images.

use image_swap_lab::Answers;

use crate::{Outcome, containerd_host::ContainerdHost, files::WITH_PATH, images::TAG};

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn verify_reports_the_source_of_each_registry() -> Outcome {
    let stage = ContainerdHost::set()?;
    stage.config(WITH_PATH);
    stage.start();
    let images: Vec<String> =
        crate::images::SAMPLES.iter().map(|sample| format!("{}:{TAG}", sample.name)).collect();
    let mut options: Vec<&str> = vec!["--output", "json"];
    options.extend(images.iter().flat_map(|image| ["--image", image]));
    let sources = |options: &[&str]| {
        let ran = stage.node("verify", options);
        let rows = ran.stdout.lines().map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            row["source"].as_str().unwrap().to_owned()
        });
        (ran.code, rows.collect::<Vec<_>>(), ran.stderr)
    };
    // Before `apply` the mirror serves all images, but receives no request.
    let (code, found, stderr) = sources(&options);
    assert_eq!((code, found.len()), (1, images.len()), "{stderr}");
    assert!(found.iter().all(|source| source == "elsewhere"), "{found:?}");

    assert_eq!(stage.node("apply", &[]).code, 0);
    let (code, found, stderr) = sources(&options);
    assert_eq!(code, 0, "{found:?} {stderr}");
    assert!(found.iter().all(|source| source == "mirror"), "{found:?}");

    stage.mirror.set(Answers::Missing);
    let (code, found, _) = sources(&options);
    assert_eq!(code, 1);
    assert!(found.iter().all(|source| source == "elsewhere"), "{found:?}");

    // Without --image the images of the host are tried.
    stage.mirror.set(Answers::Serves);
    let (code, found, stderr) = sources(&["--output", "json"]);
    assert_eq!(code, 0, "{found:?} {stderr}");
    Ok(())
}
