//! Admission policies of the administrator, beside the webhook.

use anyhow::Result;
use image_swap_e2e::{DEADLINE, HelmCluster, Install, pod};
use image_swap_testbed::{Wait, until};
use serde_json::Value;

use super::REDIS;
use crate::NGINX;

/// The namespace with admission policies.
const GUARDED: &str = "guarded";

const POLICIES: &str = r"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: company-registry}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - {apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [pods]}
  validations:
    - expression: object.spec.containers.all(it, it.image.startsWith('harbor.example.org/'))
      message: every image comes from the company's registry
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: company-registry}
spec:
  policyName: company-registry
  validationActions: [Deny]
  matchResources:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: guarded}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: injected}
spec:
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  matchConstraints:
    resourceRules:
      - {apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}
  matchConditions:
    - {name: once, expression: '!object.spec.containers.exists(it, it.name == ''injected'')'}
  mutations:
    - patchType: ApplyConfiguration
      applyConfiguration:
        expression: >-
          Object{spec: Object.spec{containers: [
            Object.spec.containers{name: 'injected', image: 'redis:7'}
          ]}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: injected}
spec:
  policyName: injected
  matchResources:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: guarded}}
";

/// An image that a policy injects is swapped, and a policy that validates sees swapped
/// images.
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn admission_policies_work_with_the_webhook() -> Result<()> {
    let cluster = HelmCluster::start()?;
    cluster.install(&Install::default())?;
    cluster.wait_swapped("nginx:1.25", NGINX)?;
    cluster.control_plane.create_namespace(GUARDED)?;
    cluster.apply(POLICIES)?;
    let pods = format!("/api/v1/namespaces/{GUARDED}/pods?dryRun=All");
    let images = |pod: &Value| -> Vec<String> {
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        containers.filter_map(|it| it["image"].as_str().map(str::to_owned)).collect()
    };
    // The API server needs a moment to put policies in force.
    let stored = until("the injected container", DEADLINE, || {
        let stored = cluster.control_plane.create(&pods, &pod("web", "nginx:1.25"))?;
        let images = images(&stored);
        if images.len() == 2 { Ok(images) } else { Err(Wait::NotYet(format!("{images:?}"))) }
    })?;
    assert_eq!(stored, [NGINX, REDIS]);

    // Palette declares no mirror for this registry.
    let foreign = pod("foreign", "registry.example.com/tool:1");
    let message = until("the refusal of another registry", DEADLINE, || {
        let answer = cluster.control_plane.request("POST", &pods, Some(&foreign))?;
        if answer.status == 422 { Ok(answer.body) } else { Err(Wait::NotYet(answer.body)) }
    })?;
    assert!(message.contains("every image comes from the company's registry"), "{message}");
    Ok(())
}
