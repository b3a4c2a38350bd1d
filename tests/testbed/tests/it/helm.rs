//! Helm against an API server.

use std::fs;

use image_swap_testbed::{
    ControlPlane, HelmError, HelmMajor, HelmRevision, HelmWait, Live, Options,
};

use crate::{Outcome, parts};

const MAP: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: demo}
data: {from: {{ .Values.from }}}
";

#[test]
#[ignore = "needs the API server and Helm: cargo xtask test"]
fn majors_share_a_release() -> Outcome {
    let chart = tempfile::tempdir()?;
    fs::create_dir(chart.path().join("templates"))?;
    fs::write(chart.path().join("Chart.yaml"), "apiVersion: v2\nname: demo\nversion: 0.1.0\n")?;
    fs::write(chart.path().join("templates/map.yaml"), MAP)?;
    let control_plane = ControlPlane::start(parts(), &Options::default())?;
    let three = Live::new(parts().helm()?, HelmMajor::Three, control_plane.kubeconfig())?;
    let four = three.other(HelmMajor::Four)?;
    let install = |helm: &Live, values: &str, wait| {
        helm.upgrade_install("apps", "demo", chart.path(), &["from: base", values], wait)
    };
    let from = || -> Result<_, Box<dyn std::error::Error>> {
        let map = control_plane.get("/api/v1/namespaces/apps/configmaps/demo")?;
        Ok(map.map(|map| map["data"]["from"].clone()))
    };

    assert_eq!(four.history("apps", "demo")?, []);
    let revision = |number, status: &str| HelmRevision { number, status: status.to_owned() };
    assert_eq!(install(&three, "from: three", HelmWait::Ready)?, revision(1, "deployed"));
    assert_eq!(from()?, Some("three".into()));
    assert_eq!(install(&four, "from: four", HelmWait::Ready)?, revision(2, "deployed"));
    assert_eq!(from()?, Some("four".into()));
    assert_eq!(install(&three, "from: again", HelmWait::Hooks)?, revision(3, "deployed"));

    four.rollback("apps", "demo", Some(1), HelmWait::Ready)?;
    assert_eq!(from()?, Some("three".into()));
    three.rollback("apps", "demo", None, HelmWait::Hooks)?;
    assert_eq!(from()?, Some("again".into()));
    let history = three.history("apps", "demo")?;
    assert_eq!(history.last(), Some(&revision(5, "deployed")));
    assert_eq!(history.first(), Some(&revision(1, "superseded")));
    assert_eq!(four.history("apps", "demo")?, history);

    let refused = install(&four, "from: [a, b]", HelmWait::Hooks).unwrap_err();
    assert!(matches!(&refused, HelmError::Refused(text) if text.contains("Error: ")), "{refused}");
    four.uninstall("apps", "demo", HelmWait::Ready)?;
    assert_eq!(from()?, None);
    assert_eq!(three.history("apps", "demo")?, []);
    Ok(())
}
